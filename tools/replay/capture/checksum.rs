//! Checksums of IP, UDP and TCP after a change, without a look at the rest of the packet.

/// The Internet checksum at `at`, after a word that it covers has changed: RFC 1624, equation 3. One
/// that was wrong stays wrong.
pub(super) fn update(frame: &mut [u8], at: usize, old: u16, new: u16) {
    let Some(field) = frame.get_mut(at..at + 2) else { return };
    let checksum = updated(u16::from_be_bytes([field[0], field[1]]), old, new);
    field.copy_from_slice(&checksum.to_be_bytes());
}

/// As [`update`], for UDP: 0 is no checksum and stays.
pub(super) fn update_udp(frame: &mut [u8], at: usize, old: u16, new: u16) {
    let Some(field) = frame.get_mut(at..at + 2) else { return };
    let checksum = match u16::from_be_bytes([field[0], field[1]]) {
        0 => return,
        sum => updated(sum, old, new),
    };
    let sent = if checksum == 0 { 0xffff } else { checksum };
    field.copy_from_slice(&sent.to_be_bytes());
}

fn updated(checksum: u16, old: u16, new: u16) -> u16 {
    let sum = u32::from(!checksum) + u32::from(!old) + u32::from(new);
    let folded = (sum & 0xffff) + (sum >> 16);
    !((folded & 0xffff) + (folded >> 16)) as u16
}
