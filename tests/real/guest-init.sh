#!/bin/bash
# The first process of a guest: sets up its network from the kernel's command line, then runs what
# comes in on the console. Each line is a number and a command; commands run side by side, and each
# answers when it is done with "@@ NUMBER STATUS", what it has printed, and "@@end NUMBER".
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc
mount -t devtmpfs dev /dev 2>/dev/null # some kernels have done it
exec <>/dev/tty0 >&0 2>&1
# What is printed is to reach the test as it is, and what the test sends is not to come back.
stty -echo -onlcr

for word in $(</proc/cmdline); do
    case $word in
        address=*) ip addr add "${word#address=}" dev eth0 ;;
    esac
done
ip link set lo up
ip link set eth0 up

# The test must not write before this: input that is there when the console opens is never noticed.
printf '@@ 0 %s\n%s\n@@end 0\n' $? "$(ip addr show dev eth0)"
while read -r number command; do
    {
        output=$(eval "$command" 2>&1 </dev/null)
        # In one write, so that answers do not mix.
        cat <<<"@@ $number $?"$'\n'"$output"$'\n'"@@end $number"
    } &
done
# The test has gone.
halt -f
