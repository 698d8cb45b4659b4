# proof.bash: the proof of demo/run that its machine reaches no control plane, and that the proof could fail.
# It is sourced; demo/run has set state and api.
# shellcheck shell=bash disable=SC2154,SC2317 # variables of demo/run; functions that are called by name

# How many times the instance has said that.
said() { grep -ac "instance web-01 $1" "$state/console.log" || :; }
has_said_again() { [ "$(said "$1")" -gt "$2" ]; }

# The instance tries, the firewall drops; with the rule opened for a moment the attempt gets through.
prove() {
	local before during after failures
	await 60 "the instance's attempt" has_said_again 'cannot reach' 0
	rack exec control curl -sf -m 5 -o /dev/null "$api/" || fail "nothing listens at $api: a drop would prove nothing"
	[ "$(rack count node_to_control)" -gt 0 ] || fail "the firewall counted no attempt"
	before=$(rack count from_nodes)
	say "the instance tries to reach $api by itself: dropped ($(rack count node_to_control) packets); control host saw $before new connections"
	[ "$before" = 0 ] || fail "a node reached the control host"

	rack open
	await 60 "an attempt with the firewall open" has_said_again 'reached' 0
	rack close
	failures=$(said 'cannot reach')
	await 60 "an attempt with the firewall closed" has_said_again 'cannot reach' "$failures"
	during=$(($(rack count from_nodes) - before))
	say "drop rule opened for a moment, on purpose: the same attempt gets through, control host saw $during"
	[ "$during" -gt 0 ] || fail "the witness on the control host does not count"

	failures=$(said 'cannot reach')
	await 60 "a further attempt" has_said_again 'cannot reach' "$failures"
	after=$(($(rack count from_nodes) - before - during))
	say "rule back: attempts are dropped again, control host saw $after"
	[ "$after" = 0 ] || fail "a node reached the control host"
	on_purpose=$during
}

# The last lines of the demo.
show_counters() {
	echo
	rack counters
	if [ "$mode" = passive ]; then
		echo "from_nodes has the $on_purpose of the opening on purpose; without them, over all operations:"
		echo "new connections from nodes to the control plane: $arrived"
	else
		echo "new connections from agents to the API: $(rack count ramdisk_to_control)"
	fi
}

# After the last operation: in passive mode nothing has arrived, and no ramdisk has even tried.
check_counters() {
	arrived=$(($(rack count from_nodes) - on_purpose))
	if [ "$mode" = passive ]; then
		[ "$arrived" = 0 ] || fail "a node reached the control host"
		[ "$(rack count ramdisk_to_control)" = 0 ] || fail "a ramdisk has tried to reach the control host"
	else
		[ "$(rack count ramdisk_to_control)" -gt 0 ] || fail "no agent has called the API"
	fi
}
