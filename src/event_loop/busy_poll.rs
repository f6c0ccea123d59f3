//! Looking for the next frame for a while instead of sleeping at once (`--busy-poll`).
//!
//! To be woken costs tens of microseconds when guest and switch run on different CPUs, more than all
//! else that happens to a frame. A switch that still looks when the next frame comes does not pay
//! it. The price is CPU time that others may want, so it looks only where that has paid.
//!
//! # The law
//! When a turn has left nothing to do, the loop polls without waiting for as long as the *window*, or
//! until the next timer: a *spin*. Then it sleeps. The window is open (`USECS`) or closed (nothing):
//! - it starts closed;
//! - a closed one opens when a sleep was *short*: ended by an event sooner than a spin and a wake-up
//!   would have taken together ([`WAKE_UP`]);
//! - an open one closes after [`FRUITLESS_SPINS`] spins in a row that found nothing, and opens again
//!   only after twice as many short sleeps as the last time ([`DEAREST`] at most), until a spin finds
//!   something: traffic whose frames always come a little too late is not spun for;
//! - it closes, at the dearest price, when two looks lie [`STOLEN`] apart: somebody else has had the
//!   CPU meanwhile. A thread that spins looks like any CPU hog to the scheduler, which makes it wait
//!   for its turn when a frame is there; one that sleeps is run at once when it is woken.
//!
//! Frames that come further apart than `USECS` and a wake-up never open it, so an idle switch sleeps.

use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use mio::{Events, Poll};

/// Decides whether to look or to sleep, and counts.
#[derive(Debug)]
pub(super) struct BusyPoll {
    /// Length of a spin while the window is open.
    window: Duration,
    open: bool,
    spin: Spin,
    /// Spins in a row that found nothing.
    fruitless: u32,
    /// Short sleeps since the window closed, and how many of them open it.
    short_sleeps: u32,
    price: u32,
    totals: BusyPollTotals,
}

/// What spinning has cost and brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct BusyPollTotals {
    spun: Duration,
    spins: u64,
    /// Spins that ended with an event.
    found: u64,
}

/// The spin that is on.
#[derive(Clone, Copy, Debug)]
struct Spin {
    began: Instant,
    last_look: Instant,
}

/// What to do while there is nothing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Look,
    Sleep,
}

impl BusyPoll {
    pub(super) fn new(window: Duration) -> Self {
        let now = Instant::now();
        BusyPoll {
            window,
            open: false,
            spin: Spin { began: now, last_look: now },
            fruitless: 0,
            short_sleeps: 0,
            price: 1,
            totals: BusyPollTotals::default(),
        }
    }

    /// Waits for events, or until `due`; returns the time.
    ///
    /// # Errors
    /// Those of the poller.
    pub(super) fn wait(
        &mut self,
        poll: &mut Poll,
        events: &mut Events,
        due: Option<Instant>,
    ) -> io::Result<Instant> {
        let mut now = Instant::now();
        let mut next = self.nothing_to_do(now);
        while next == Next::Look {
            poll_for(poll, events, Some(Duration::ZERO))?;
            now = Instant::now();
            if !events.is_empty() {
                self.found(now);
                return Ok(now);
            }
            if due.is_some_and(|due| due <= now) {
                self.interrupted(now);
                return Ok(now);
            }
            next = self.found_nothing(now);
        }
        let asleep = now;
        poll_for(poll, events, due.map(|due| due.saturating_duration_since(now)))?;
        now = Instant::now();
        if !events.is_empty() {
            self.woken_after(now.saturating_duration_since(asleep));
        }
        Ok(now)
    }

    pub(super) fn totals(&self) -> BusyPollTotals {
        self.totals
    }

    /// A turn has left nothing to do.
    fn nothing_to_do(&mut self, now: Instant) -> Next {
        if !self.open {
            return Next::Sleep;
        }
        self.spin = Spin { began: now, last_look: now };
        self.totals.spins += 1;
        Next::Look
    }

    /// A look has found nothing.
    fn found_nothing(&mut self, now: Instant) -> Next {
        if self.is_stolen(now) {
            self.end_spin(now);
            self.give_way();
            return Next::Sleep;
        }
        self.spin.last_look = now;
        if now.saturating_duration_since(self.spin.began) < self.window {
            return Next::Look;
        }
        self.end_spin(now);
        self.fruitless += 1;
        if self.fruitless >= FRUITLESS_SPINS {
            self.close((self.price * 2).min(DEAREST));
        }
        Next::Sleep
    }

    /// A look has found something.
    fn found(&mut self, now: Instant) {
        self.end_spin(now);
        self.totals.found += 1;
        self.fruitless = 0;
        self.price = 1;
        if self.is_stolen(now) {
            self.give_way();
        }
    }

    /// A timer is due while we spin: that says nothing about the spin.
    fn interrupted(&mut self, now: Instant) {
        self.end_spin(now);
    }

    /// An event has ended a sleep.
    fn woken_after(&mut self, slept: Duration) {
        if self.open || slept >= self.window + WAKE_UP {
            return;
        }
        self.short_sleeps += 1;
        if self.short_sleeps >= self.price {
            self.open = true;
            self.fruitless = 0;
        }
    }

    fn is_stolen(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.spin.last_look) >= STOLEN
    }

    fn give_way(&mut self) {
        self.close(DEAREST);
    }

    fn close(&mut self, price: u32) {
        self.open = false;
        self.short_sleeps = 0;
        self.price = price;
    }

    fn end_spin(&mut self, now: Instant) {
        self.totals.spun += now.saturating_duration_since(self.spin.began);
    }
}

impl fmt::Display for BusyPollTotals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let BusyPollTotals { spun, spins, found } = self;
        write!(f, "spun_ms={} spins={spins} spins_found={found}", spun.as_millis())
    }
}

/// Polls. An interrupted poll is one without events.
///
/// # Errors
/// Those of the poller, after which nothing can be served.
pub(super) fn poll_for(
    poll: &mut Poll,
    events: &mut Events,
    timeout: Option<Duration>,
) -> io::Result<()> {
    match poll.poll(events, timeout) {
        Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
        _ => Ok(()),
    }
}

/// What a sleep takes longer than the frame that ends it was on its way: a wake-up of the guest that
/// answers and one of ours, on an idle machine.
const WAKE_UP: Duration = Duration::from_micros(100);

/// As many as a game server's few packets in a row may leave without an answer.
const FRUITLESS_SPINS: u32 = 4;

/// Where spins never find anything, fewer than one short sleep in a hundred is preceded by one.
const DEAREST: u32 = 1024;

/// Longer than interrupts take, shorter than the scheduler's slice (3 ms) for somebody who wants the
/// CPU for itself. A guest that handles a frame or two in between does no harm.
const STOLEN: Duration = Duration::from_micros(500);

#[cfg(test)]
mod tests {
    use super::*;

    const fn micros(n: u64) -> Duration {
        Duration::from_micros(n)
    }

    /// The loop and its guests on a clock of their own.
    struct Scene {
        busy_poll: BusyPoll,
        now: Instant,
        /// Time spent asleep, and how long it takes to wake up.
        slept: Duration,
        wake_up: Duration,
    }

    impl Scene {
        fn new(window: Duration) -> Self {
            Scene {
                busy_poll: BusyPoll::new(window),
                now: Instant::now(),
                slept: Duration::ZERO,
                wake_up: micros(30),
            }
        }

        /// Waits for a frame that comes `gap` from now. Returns whether a look finds it.
        fn frame_after(&mut self, gap: Duration) -> bool {
            let frame = self.now + gap;
            let mut next = self.busy_poll.nothing_to_do(self.now);
            while next == Next::Look {
                self.now += micros(1);
                if self.now >= frame {
                    self.busy_poll.found(self.now);
                    return true;
                }
                next = self.busy_poll.found_nothing(self.now);
            }
            let asleep = self.now;
            self.now = frame.max(asleep) + self.wake_up;
            self.busy_poll.woken_after(self.now - asleep);
            self.slept += self.now - asleep;
            false
        }

        /// How many of `count` frames, each `gap` after the one before, are found by looking.
        fn frames(&mut self, count: u32, gap: Duration) -> u32 {
            (0..count).filter(|_| self.frame_after(gap)).count() as u32
        }

        fn spun(&self) -> Duration {
            self.busy_poll.totals.spun
        }
    }

    #[test]
    fn frames_in_quick_succession_are_awaited_awake_from_the_second_on() {
        let mut scene = Scene::new(micros(50));
        assert_eq!(scene.frames(1000, micros(40)), 999);
        assert_eq!(scene.busy_poll.totals.found, 999);
        assert_eq!(scene.busy_poll.totals.spins, 999);
        assert_eq!(scene.spun(), micros(40 * 999));
    }

    #[test]
    fn frames_that_come_now_and_then_are_slept_for() {
        for (window, gap) in [(50, 50_000), (1000, 50_000), (50, 151), (1000, 1200)] {
            let mut scene = Scene::new(micros(window));
            assert_eq!(scene.frames(1000, micros(gap)), 0);
            assert_eq!(scene.busy_poll.totals, BusyPollTotals::default(), "{gap} us apart");
        }
    }

    #[test]
    fn it_goes_to_sleep_after_a_few_spins_for_nothing() {
        let mut scene = Scene::new(micros(50));
        scene.frames(100, micros(10));
        let before = scene.busy_poll.totals.spins;
        assert_eq!(scene.frames(1000, micros(20_000)), 0);
        assert_eq!(scene.busy_poll.totals.spins - before, u64::from(FRUITLESS_SPINS));
    }

    #[test]
    fn frames_that_always_come_a_little_too_late_are_given_up() {
        let mut scene = Scene::new(micros(50));
        let start = scene.now;
        assert_eq!(scene.frames(100_000, micros(80)), 0);
        let share = scene.spun().as_secs_f64() / (scene.now - start).as_secs_f64();
        assert!(share < 0.01, "{share} of the time");
        // When they come in time again it takes a while, and from then on all is as before.
        scene.frames(DEAREST, micros(30));
        assert_eq!(scene.frames(1000, micros(30)), 1000);
        scene.frames(FRUITLESS_SPINS, micros(10_000));
        assert_eq!(scene.frames(100, micros(30)), 98);
    }

    #[test]
    fn questions_that_come_seldom_have_their_answers_awaited_awake() {
        let mut scene = Scene::new(micros(50));
        let start = scene.now;
        let answers = (0..200).filter(|_| {
            scene.frame_after(micros(50_000));
            scene.frame_after(micros(30))
        });
        assert_eq!(answers.count(), 199);
        let share = scene.spun().as_secs_f64() / (scene.now - start).as_secs_f64();
        assert!(share < 0.002, "{share} of the time");
    }

    #[test]
    fn it_gives_way_when_somebody_else_had_the_cpu() {
        for found in [false, true] {
            let mut scene = Scene::new(micros(1000));
            scene.frames(10, micros(100));
            assert_eq!(scene.busy_poll.nothing_to_do(scene.now), Next::Look);
            scene.now += STOLEN;
            if found {
                scene.busy_poll.found(scene.now);
            } else {
                assert_eq!(scene.busy_poll.found_nothing(scene.now), Next::Sleep);
            }
            assert_eq!(scene.frames(DEAREST, micros(100)), 0);
            assert_eq!(scene.frames(10, micros(100)), 10);
        }
    }

    #[test]
    fn a_timer_that_ends_a_spin_says_nothing_about_it() {
        let mut scene = Scene::new(micros(50));
        scene.frames(10, micros(10));
        for _ in 0..100 {
            assert_eq!(scene.busy_poll.nothing_to_do(scene.now), Next::Look);
            scene.now += micros(20);
            scene.busy_poll.interrupted(scene.now);
        }
        assert_eq!(scene.frames(10, micros(10)), 10);
    }

    #[test]
    fn a_timer_is_not_late_for_a_spin() {
        let mut poll = Poll::new().unwrap();
        let mut events = Events::with_capacity(1);
        // So long that nobody would wait for its end.
        let mut busy_poll = BusyPoll::new(Duration::from_secs(100_000));
        busy_poll.woken_after(Duration::ZERO);
        for ahead in [Duration::ZERO, micros(300)] {
            let due = Instant::now() + ahead;
            let now = busy_poll.wait(&mut poll, &mut events, Some(due)).unwrap();
            assert!(now >= due && events.is_empty());
        }
        assert_eq!((busy_poll.totals.spins, busy_poll.totals.found), (2, 0));
    }
}
