#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# An authority, a server's certificate for 127.0.0.1, a client's, and another authority, into DIR.
set -euo pipefail
cd "${1:?usage: $0 DIR}"
new() { openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$1.key" -subj "/CN=$2" "${@:3}"; }
new ca authority -x509 -days 2 -out ca.pem
new other-ca "another authority" -x509 -days 2 -out other-ca.pem
for name in server client; do
	new $name twinstep-$name -out $name.csr
	printf 'subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n' >$name.ext
	openssl x509 -req -in $name.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile $name.ext -out $name.pem
done
chmod 600 ./*.key
