# follow.bash: how demo/run looks at what a machine and its boot host do, and prints each milestone with its time.
# It is sourced; demo/run has set state, boot_host, boot, mode and firmware.
# shellcheck shell=bash disable=SC2154,SC2317 # variables of demo/run; functions that are called by name

boot_script() {
	case $boot in
	media) grep -ah '^append inox-node=' "$boot_host"/root/http/once/*/boot.media ;;
	*) cat "$boot_host/root/http/boot/$dashed_mac"/*.ipxe ;;
	esac
}
# A machine boots more than once: what was there before an operation began does not count.
console() { tail -c "+$((console_begin + 1))" "$state/console.log"; }
on_console() { console | grep -aq "$1"; }
boot_host_logged() { tail -n "+$((${begin[$2]} + 1))" "$boot_host/state/$2" | grep -q "$1"; }

declare -A begin
mark_beginning() {
	local log
	console_begin=$(stat -c %s "$state/console.log" 2>/dev/null || echo 0)
	for log in dnsmasq.log nginx-access.log; do
		begin[$log]=$(wc -l < "$boot_host/state/$log" 2>/dev/null || echo 0)
	done
}

boot_data_are_there() { boot_script && grep -q ",10.77" "$boot_host/root/dhcp-hosts/$dashed_mac"; }
iso_is_there() { boot_script && ! grep -q ",10.77" "$boot_host/root/dhcp-hosts/$dashed_mac"; }
has_api_address() { boot_script | grep -qE 'ipa-api-url|10\.77\.0\.'; }
machine_is_on() { [ "$(stat -c %s "$state/console.log")" -gt "$console_begin" ]; }
machine_has_lease() { boot_host_logged "DHCPACK.*$mac" dnsmasq.log; }
script_was_read() { boot_host_logged "GET /boot/$dashed_mac.ipxe HTTP/1.1\" 200" nginx-access.log; }
ramdisk_was_read() { boot_host_logged 'GET /ramdisk/initrd HTTP/1.1" 200' nginx-access.log; }
agent_runs() { on_console 'inox: .* agent starts'; }
agent_called() { [ "$(rack count ramdisk_to_control)" -gt "$calls_begin" ]; }
token_is_gone() { [ -z "$(ls "$boot_host/root/http/once")" ]; }
agent_said() { on_console "message=\"command $2\" command=$1"; }
inventory_was_read() { agent_said poll.get_hardware_info ended; }
agent_knows_node() { agent_said poll.set_node_info ended; }
deploy_step_began() { agent_said deploy.execute_deploy_step accepted; }
image_was_read() { boot_host_logged 'GET /images/instance.raw.zst HTTP/1.1" 20' nginx-access.log; }
deploy_step_ended() { agent_said 'deploy.execute_deploy_step status=SUCCEEDED' ended; }
clean_step_began() { agent_said clean.execute_clean_step accepted; }
clean_step_ended() { agent_said 'clean.execute_clean_step status=SUCCEEDED' ended; }
rescue_was_accepted() { agent_said rescue.finalize_rescue accepted; }
disks_were_flushed() { agent_said 'standby.sync status=SUCCEEDED' ended; }
machine_went_off() { agent_said standby.power_off accepted; }
instance_is_up() { on_console 'instance web-01 is up'; }

boot_milestones() {
	if [ "$boot" = network ]; then
		cat <<-TEXT
			boot_data_are_there|boot data are on the boot host: script, token, address reservation
			machine_is_on|power on (Redfish)
			machine_has_lease|DHCP: the machine has the address that was assigned to it
			script_was_read|iPXE has read the machine's boot script
			ramdisk_was_read|iPXE has loaded kernel, token and ramdisk
		TEXT
	else
		cat <<-TEXT
			iso_is_there|the ISO of this boot is on the boot host: token and address are in it
			machine_is_on|power on (Redfish), with the ISO in the virtual drive
		TEXT
	fi
	echo "agent_runs|agent is up and listens"
	[ "$mode" = passive ] || echo "agent_called|the agent has looked up its node and sends heartbeats"
	cat <<-TEXT
		token_is_gone|conductor has reached the agent, the token is the key of the channel; boot host has no token any more
		inventory_was_read|inventory read
		agent_knows_node|identity checked; node info given to the agent
	TEXT
}
deploy_milestones() {
	boot_milestones
	cat <<-TEXT
		deploy_step_began|deploy step write_image begins
		image_was_read|agent has read the image from the boot host
		deploy_step_ended|image written, digest verified
		disks_were_flushed|disks flushed
		machine_went_off|reboot: the agent switches the machine off, the BMC switches it on with its disk as boot device
		instance_is_up|instance is up
	TEXT
}
clean_milestones() {
	boot_milestones
	cat <<-TEXT
		clean_step_began|clean step erase_devices_metadata begins
		clean_step_ended|metadata of the disks erased
		disks_were_flushed|disks flushed
		machine_went_off|the agent switches the machine off
	TEXT
}
rescue_milestones() {
	boot_milestones
	echo "rescue_was_accepted|the agent has the hash of the rescue password, and ends"
}

# What a boot's data say of the control plane's address: nothing in passive mode.
check_boot_data() {
	if [ "$mode" = passive ]; then
		! has_api_address || fail "there is an API address in the boot data"
		say "no address of the API is in them: no ipa-api-url"
	else
		has_api_address || fail "there is no API address in the boot data"
		say "the API's URL is in them: ipa-api-url"
	fi
}

# Prints an operation's milestones while its command, a background process, runs.
follow() { # OPERATION PID-OF-COMMAND
	local deadline=$((SECONDS + 300)) reached=0 milestones each
	mapfile -t milestones < <("$1_milestones")
	while [ $reached -lt ${#milestones[@]} ]; do
		each=${milestones[$reached]}
		if "${each%%|*}" > /dev/null 2>&1; then
			reached=$((reached + 1))
			say "${each#*|}"
			[[ ${each%%|*} != @(boot_data|iso)_*there ]] || check_boot_data
			continue
		fi
		if ! kill -0 "$2" 2>/dev/null && ! wait "$2"; then
			fail "$1: $(tail -n 1 "$state/$1.log")"
		fi
		[ $SECONDS -lt $deadline ] || fail "$1: not within the deadline: ${each#*|}; $(inox why demo-01)"
		sleep 0.2
	done
	wait "$2" || fail "$1: $(tail -n 1 "$state/$1.log")"
}

# Runs an inox command in the background and follows it.
run_operation() { # OPERATION INOX-ARGUMENT...
	local operation=$1 pid
	shift
	mark_beginning
	calls_begin=$(rack count ramdisk_to_control)
	inox "$@" --wait > "$state/$operation.log" 2>&1 9>&- &
	pid=$!
	follow "$operation" $pid
}

check_boot_data_are_gone() {
	! find "$boot_host"/root/http/{boot,once} -mindepth 1 | grep -q . || fail "boot data are left"
	grep -q ',ignore' "$boot_host/root/dhcp-hosts/$dashed_mac" || fail "the reservation is left"
	say "boot data are gone: no script, no token, no reservation"
}

# A machine in rescue renews its lease; with an ISO its address has come from there.
check_only_the_address_is_left() {
	! find "$boot_host"/root/http/{boot,once} -mindepth 1 | grep -q . || fail "boot data are left"
	if [ "$boot" = network ]; then
		grep -q ",$agent_address" "$boot_host/root/dhcp-hosts/$dashed_mac" || fail "the address is not reserved any more"
	fi
	say "script and token are gone; the address stays the machine's"
}
