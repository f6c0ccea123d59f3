//! Time as the player counts it, and sleeping until a moment of it.

use std::sync::LazyLock;
use std::thread;
use std::time::{Duration, Instant};

/// A point in time, counted from the first one that was asked for.
pub type Moment = Duration;

/// The time, by CLOCK_MONOTONIC.
pub fn now() -> Moment {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    START.elapsed()
}

/// Waits until `due`, if that is yet to come: sleeps, and looks at the clock for the last part, because
/// waking up takes longer than what is to be measured.
pub fn sleep_until(due: Moment) {
    let left = due.saturating_sub(now());
    if left > WAKING_UP {
        thread::sleep(left - WAKING_UP);
    }
    while now() < due {
        std::hint::spin_loop();
    }
}

/// Lets this thread sleep as long as it asks for and not 50 us more, as the kernel has it. For a
/// thread of its own: what it starts inherits this, and a switch is not to.
///
/// # Errors
/// Those of `prctl(2)`.
pub fn be_punctual() -> std::io::Result<()> {
    Ok(nix::sys::prctl::set_timerslack(1)?)
}

/// As a histogram wants it.
pub fn nanoseconds(moment: Moment) -> u64 {
    u64::try_from(moment.as_nanos()).unwrap_or(u64::MAX)
}

/// How long it may take until a thread that wants to run does, where the machine has nothing else to
/// do: 99 in 100 times in a virtual machine with two processors, 40 us half of the times.
const WAKING_UP: Duration = Duration::from_micros(100);
