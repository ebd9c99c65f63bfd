-- SPDX-License-Identifier: GPL-2.0-or-later
-- As sqlite's speedtest1: inserts, indexes, ranges, joins, text, updates and deletions, in memory.
CREATE TABLE a (i INTEGER PRIMARY KEY, b INTEGER, c TEXT);
BEGIN;
WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 60000)
INSERT INTO a SELECT x, x * 7919 % 60013, printf('%08d row of %d', x * 104729 % 60017, x) FROM n;
COMMIT;
CREATE INDEX ab ON a (b);
CREATE INDEX ac ON a (c);
SELECT count(*), sum(b) FROM a WHERE b BETWEEN 1000 AND 30000;
SELECT count(*), sum(length(c)) FROM a WHERE c LIKE '%77%';
WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 20000)
SELECT sum(a.b), max(a.c) FROM n JOIN a ON a.b = n.x * 3 % 60013;
SELECT b % 97 AS g, count(*), min(c), avg(b) FROM a GROUP BY g ORDER BY g DESC LIMIT 5;
UPDATE a SET b = b + 1 WHERE i % 3 = 0;
DELETE FROM a WHERE b % 5 = 2;
SELECT c FROM a ORDER BY substr(c, 3, 5), i LIMIT 3;
SELECT count(*), sum(b), sum(i) FROM a;
