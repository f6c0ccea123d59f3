#!/bin/bash
# The first process of a guest. Runs what comes in on the console: each line is a number and a
# command; commands run side by side, and each answers when it is done with "@@ NUMBER STATUS", what
# it has printed, and "@@end NUMBER".
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc
mount -t devtmpfs dev /dev 2>/dev/null # some kernels have done it
mount -t tmpfs tmpfs /tmp              # iperf3 keeps a file there
exec <>/dev/tty0 >&0 2>&1
# What is printed is to arrive as it is, and what is sent is not to come back.
stty -echo -onlcr

# Nothing may be sent before this: input that is there when the console opens is never noticed.
printf '@@ 0 0\n\n@@end 0\n'
while read -r number command; do
    {
        output=$(eval "$command" 2>&1 </dev/null)
        # In one write, so that answers do not mix.
        cat <<<"@@ $number $?"$'\n'"$output"$'\n'"@@end $number"
    } &
done
# The bench has gone.
halt -f
