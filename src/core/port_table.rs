//! The numbered ports of the switch.
//!
//! A port is known by a [`PortId`]: its number, which people see and which names its data socket,
//! and a generation, so that an id kept for a port that has gone never reaches the port that took
//! its number. Free numbers are given out lowest first: a guest that is started again gets its old
//! number back, and with it its old data address.

use std::collections::BTreeSet;
use std::fmt;

/// The uplink's number; clients are numbered from 1 as `vde_switch` does.
pub const UPLINK_NUMBER: u32 = 0;

/// One attachment to the switch, for as long as it lasts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortId {
    number: u32,
    generation: u32,
}

impl PortId {
    /// The port's number: 0 is the uplink, clients count from 1.
    pub fn number(self) -> u32 {
        self.number
    }

    /// How many ports have had this number before, modulo 2^32.
    pub fn generation(self) -> u32 {
        self.generation
    }

    /// The id with these parts; a table answers for it only if it gave it out.
    pub fn from_parts(number: u32, generation: u32) -> Self {
        PortId { number, generation }
    }
}

impl fmt::Display for PortId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.number.fmt(f)
    }
}

impl fmt::Debug for PortId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.number, self.generation)
    }
}

/// Why no port could be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoPort {
    /// All of the configured ports are in use.
    #[error("all {0} ports are in use")]
    Full(u32),
    /// The number that was asked for is in use.
    #[error("port {0} is in use")]
    Taken(u32),
    /// The number that was asked for lies outside of what is configured.
    #[error("there is no port {number}: ports are numbered 1 to {last}")]
    OutOfRange {
        /// The number asked for.
        number: u32,
        /// The highest number there is.
        last: u32,
    },
}

/// Values by port, in constant time, with a dense list of the ports in use for floods.
#[derive(Debug)]
pub struct PortTable<T> {
    /// By number. Grows with the highest number in use.
    slots: Vec<Slot<T>>,
    /// Numbers under `slots.len()` that are free, the uplink's excepted.
    free: BTreeSet<u32>,
    in_use: Vec<PortId>,
    max_ports: u32,
}

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    /// The value and its place in `in_use`.
    value: Option<(T, usize)>,
}

impl<T> PortTable<T> {
    /// An empty table for the uplink and up to `max_ports` others.
    pub fn new(max_ports: u32) -> Self {
        let uplink = Slot { generation: 0, value: None };
        PortTable { slots: vec![uplink], free: BTreeSet::new(), in_use: Vec::new(), max_ports }
    }

    /// The number that [`PortTable::insert`] would give: `wish`, or the lowest free one from 1 on.
    ///
    /// # Errors
    /// [`NoPort`] when the table is full or the wish cannot be met.
    pub fn next_number(&self, wish: Option<u32>) -> Result<u32, NoPort> {
        match wish {
            Some(number) => self.check_wish(number),
            None => self.lowest_free(),
        }
    }

    /// Opens the port with the number of [`PortTable::next_number`].
    ///
    /// # Errors
    /// As there; nothing has changed then.
    pub fn insert(&mut self, wish: Option<u32>, value: T) -> Result<PortId, NoPort> {
        let number = self.next_number(wish)?;
        while self.slots.len() <= number as usize {
            let fresh = self.slots.len() as u32;
            self.slots.push(Slot { generation: 0, value: None });
            self.free.insert(fresh);
        }
        self.free.remove(&number);
        let slot = &mut self.slots[number as usize];
        let id = PortId { number, generation: slot.generation };
        slot.value = Some((value, self.in_use.len()));
        self.in_use.push(id);
        Ok(id)
    }

    /// Closes `id` and returns its value; `None` if it has gone already.
    pub fn remove(&mut self, id: PortId) -> Option<T> {
        self.get(id)?;
        let slot = &mut self.slots[id.number as usize];
        slot.generation = slot.generation.wrapping_add(1);
        let (value, place) = slot.value.take()?;
        self.in_use.swap_remove(place);
        if let Some(moved) = self.in_use.get(place)
            && let Some((_, moved_place)) = &mut self.slots[moved.number as usize].value
        {
            *moved_place = place;
        }
        if id.number != UPLINK_NUMBER {
            self.free.insert(id.number);
        }
        Some(value)
    }

    /// The value of `id` while the port is open.
    pub fn get(&self, id: PortId) -> Option<&T> {
        let slot = self.slots.get(id.number as usize)?;
        if slot.generation != id.generation {
            return None;
        }
        slot.value.as_ref().map(|(value, _)| value)
    }

    /// The value of `id`, to change it.
    pub fn get_mut(&mut self, id: PortId) -> Option<&mut T> {
        let slot = self.slots.get_mut(id.number as usize)?;
        if slot.generation != id.generation {
            return None;
        }
        slot.value.as_mut().map(|(value, _)| value)
    }

    /// The open ports, in no particular order. The order changes only when a port closes.
    pub fn ids(&self) -> &[PortId] {
        &self.in_use
    }

    /// How many ports are open.
    pub fn len(&self) -> usize {
        self.in_use.len()
    }

    /// True if no port is open.
    pub fn is_empty(&self) -> bool {
        self.in_use.is_empty()
    }

    fn check_wish(&self, number: u32) -> Result<u32, NoPort> {
        if number > self.max_ports {
            return Err(NoPort::OutOfRange { number, last: self.max_ports });
        }
        match self.slots.get(number as usize) {
            Some(slot) if slot.value.is_some() => Err(NoPort::Taken(number)),
            _ => Ok(number),
        }
    }

    fn lowest_free(&self) -> Result<u32, NoPort> {
        match self.free.first() {
            Some(&number) => Ok(number),
            None if self.slots.len() <= self.max_ports as usize => Ok(self.slots.len() as u32),
            None => Err(NoPort::Full(self.max_ports)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_start_at_one_and_the_lowest_free_one_comes_back() {
        let mut table = PortTable::new(10);
        let ids: Vec<_> = (0..3).map(|n| table.insert(None, n).unwrap()).collect();
        assert_eq!(ids.iter().map(|id| id.number()).collect::<Vec<_>>(), [1, 2, 3]);
        table.remove(ids[1]).unwrap();
        let again = table.insert(None, 9).unwrap();
        assert_eq!(again.number(), 2);
        assert_ne!(again, ids[1]);
    }

    #[test]
    fn an_id_of_a_closed_port_reaches_nobody() {
        let mut table = PortTable::new(4);
        let old = table.insert(None, "old").unwrap();
        table.remove(old);
        let new = table.insert(None, "new").unwrap();
        assert_eq!(old.number(), new.number());
        assert_eq!(table.get(old), None);
        assert_eq!(table.get_mut(old), None);
        assert_eq!(table.remove(old), None);
        assert_eq!(table.get(new), Some(&"new"));
    }

    #[test]
    fn wishes_are_met_or_refused_with_the_reason() {
        let mut table = PortTable::new(5);
        let five = table.insert(Some(5), ()).unwrap();
        assert_eq!(five.number(), 5);
        assert_eq!(table.insert(Some(5), ()), Err(NoPort::Taken(5)));
        assert_eq!(table.insert(Some(6), ()), Err(NoPort::OutOfRange { number: 6, last: 5 }));
        let uplink = table.insert(Some(UPLINK_NUMBER), ()).unwrap();
        assert_eq!(uplink.number(), 0);
        for number in 1..=4 {
            assert_eq!(table.insert(None, ()).unwrap().number(), number);
        }
        assert_eq!(table.insert(None, ()), Err(NoPort::Full(5)));
    }

    #[test]
    fn the_uplinks_number_is_never_given_to_a_client() {
        let mut table = PortTable::new(2);
        let uplink = table.insert(Some(UPLINK_NUMBER), ()).unwrap();
        table.remove(uplink);
        assert_eq!(table.insert(None, ()).unwrap().number(), 1);
    }

    #[test]
    fn the_list_of_open_ports_follows_every_change() {
        let mut table = PortTable::new(8);
        let ids: Vec<_> = (0..5).map(|n| table.insert(None, n).unwrap()).collect();
        table.remove(ids[0]);
        table.remove(ids[4]);
        table.remove(ids[2]);
        let mut open = table.ids().to_vec();
        open.sort();
        assert_eq!(open, [ids[1], ids[3]]);
        assert_eq!(table.len(), 2);
    }
}
