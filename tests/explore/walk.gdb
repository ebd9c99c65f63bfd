# From the assertion of tests/explore/service.c back to the write that lost an update: the last one
# after which the counter is not larger by one than before.
break lost
continue
printf "at the assertion: %lu of them\n", counter
delete
watch counter
set $after = counter
set $steps = 0
while $steps < 200
	set $steps = $steps + 1
	reverse-continue
	# In front of the write: what it was before.
	set $before = counter
	if $after != $before + 1
		printf "the racing write: %lu became %lu\n", $before, $after
		info symbol $pc
		set $steps = 1000
	end
	set $after = $before
end
kill
