# What a system with systemd and podman does with containers, over a reboot and a power cut: each boot runs the next phase.
# The last line says whether anything failed.
export PATH=/usr/local/bin:/usr/sbin:/usr/bin HOME=/root LC_ALL=C.UTF-8
phase=$(cat /var/lib/phase 2>/dev/null || echo 1)
echo $((phase + 1)) > /var/lib/phase
sync

# expect WHAT WANTED COMMAND…: notes a failure unless the command ends well and says exactly what is wanted.
expect() {
    what=$1 wanted=$2
    shift 2
    said=$("$@" 2>&1) && [ "$said" = "$wanted" ] && echo "ok: $what" && return
    echo "FAILED: $what: wanted '$wanted', got '$said'"
    touch /var/lib/failed
}
states() { strata inspect -f '{{.State.Status}}' web always once stopped | paste -sd' '; }
words() { "$@" | paste -sd' '; }
# What a container says: its options, then its command, which is `sh -c SCRIPT`.
inside() {
    options=
    while [ "$1" != sh ]; do
        options="$options $1"
        shift
    done
    words strata run --rm --network none $options box "$@"
}
page() { curl -s --retry 20 --retry-connrefused --retry-delay 1 http://127.0.0.1:8080/; }
podman() { command podman --runtime /usr/local/bin/strata-runtime --cgroup-manager systemd "$@"; }
scope() { systemctl list-units --no-legend --plain 'libpod-*.scope' | cut -d' ' -f1; }
limits() { systemctl show "$(scope)" -p MemoryMax -p CPUQuotaPerSecUSec -p TasksMax -p Slice | sort | paste -sd' '; }
in_kernel() { cd "/sys/fs/cgroup$(systemctl show "$(scope)" -p ControlGroup --value)" && cat memory.max pids.max cpu.max | paste -sd' '; }

if [ "$phase" = 1 ]; then
    modprobe -a overlay erofs loop bridge veth nf_tables
    tar -C /opt/box -cf /root/box.tar .
    strata import -c 'ENV PATH=/bin' /root/box.tar box > /dev/null
    strata run -d --name web --restart unless-stopped -p 8080:80 -v data:/www \
        box sh -c 'echo hello > /www/index.html; exec httpd -f -p 80 -h /www' > /dev/null
    strata run -d --name always --restart always -m 64m box sleep 100000 > /dev/null
    strata run -d --name once box sleep 100000 > /dev/null
    strata run -d --name stopped --restart unless-stopped box sleep 100000 > /dev/null
    strata stop -t 0 stopped > /dev/null
    expect 'containers run' 'running running running exited' states
    expect 'a published port answers' hello page

    strata system boot-unit > /etc/systemd/system/strata.service
    expect 'systemd finds nothing wrong with the unit' '' systemd-analyze verify /etc/systemd/system/strata.service
    systemctl --quiet enable strata.service
    expect 'the unit starts' '' systemctl start strata.service
    expect 'the unit is active' active systemctl is-active strata.service
    expect 'its start leaves alone what runs' 'running running running exited' states
    expect 'the unit restarts' '' systemctl restart strata.service
    expect 'what has no policy stays ended' 'running running exited exited' states
    expect 'a published port answers again' hello page

    strata run -d --network none --name said --log-driver journald box echo to the journal > /dev/null
    expect 'a container of the journal ends' 0 strata wait said
    journalctl --sync
    expect 'the journal has what it said' 'to the journal' journalctl --quiet --output cat CONTAINER_NAME=said
    expect 'and logs finds it there' 'to the journal' strata logs said
    strata rm said > /dev/null

    confined="cat /proc/self/attr/current; echo x 2> /dev/null > /denied && echo written || echo denied"
    expect 'without a profile nothing is confined' 'unconfined written' inside sh -c "$confined"
    cat > /etc/apparmor.d/strata-default <<'PROFILE'
profile strata-default flags=(attach_disconnected, mediate_deleted) {
    file,
    capability,
    network,
    signal,
    deny /denied w,
}
PROFILE
    expect 'AppArmor takes the profile' '' apparmor_parser -r /etc/apparmor.d/strata-default
    expect 'a profile of our name confines' 'strata-default (enforce) denied' inside sh -c "$confined"
    strata run -d --network none --name confined box sleep 1000 > /dev/null
    expect 'also what joins later' 'strata-default (enforce) denied' words strata exec confined sh -c "$confined"
    strata rm -f confined > /dev/null
    expect 'unless it is not wanted' 'unconfined written' inside --security-opt apparmor=unconfined sh -c "$confined"
    expect 'or everything is allowed' 'unconfined written' inside --privileged sh -c "$confined"
    expect 'a profile that is not loaded is refused' refused sh -c \
        'strata run --rm --network none --security-opt apparmor=absent box true 2> /dev/null || echo refused'

    podman import --quiet /root/box.tar box > /dev/null 2>&1
    expect 'podman runs a container by our runtime' 'inside' podman run --rm --network none box /bin/echo inside
    podman run -d --name limited --network none -m 64m --cpus 0.5 --pids-limit 33 box /bin/sleep 1000 > /dev/null
    expect 'systemd knows its limits' 'CPUQuotaPerSecUSec=500ms MemoryMax=67108864 Slice=machine.slice TasksMax=33' limits
    expect 'and the kernel' '67108864 33 50000 100000' in_kernel
    systemctl daemon-reload
    expect 'they outlive that systemd reads its units again' '67108864 33 50000 100000' in_kernel
    expect 'podman looks inside' '/bin/sleep 1000' podman exec limited /bin/sh -c "tr '\0' ' ' < /proc/1/cmdline | sed 's/ \$//'"
    podman rm -f -t 0 limited > /dev/null
    expect 'nothing of it is left' '' scope
    sync
    systemctl reboot
elif [ "$phase" = 2 ]; then
    expect 'after a reboot the unit is active' active systemctl is-active strata.service
    expect 'after a reboot those with a policy run' 'running running exited exited' states
    expect 'after a reboot the published port answers' hello page
    expect 'limits are set again' 67108864 cat "/sys/fs/cgroup/strata/$(strata inspect -f '{{.Id}}' always)/memory.max"
    sync
    echo b > /proc/sysrq-trigger
    sleep 1000
else
    expect 'after a power cut those with a policy run' 'running running exited exited' states
    expect 'after a power cut the published port answers' hello page
    expect 'the store is whole' 0 sh -c 'strata check > /dev/null; echo $?'
    strata rm -fv web always once stopped > /dev/null
    expect 'everything can be removed' '' strata ps -aq
    if [ -e /var/lib/failed ]; then failed=1; else failed=0; fi
    echo "$STRATA_END$failed"
    sync
    systemctl poweroff --force --force
fi
