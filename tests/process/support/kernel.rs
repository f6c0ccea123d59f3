//! What the machine's kernel is set to.

use std::fs;

/// How many datagrams may lie unread at a socket that is made now by this thread.
pub fn queue_length() -> u32 {
    let len = fs::read_to_string("/proc/sys/net/unix/max_dgram_qlen");
    len.expect("a kernel with unix sockets").trim().parse().expect("a number")
}
