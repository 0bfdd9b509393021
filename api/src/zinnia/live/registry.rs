//! Who listens to what.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tokio::sync::mpsc;
use uuid::Uuid;

/// Pushes that wait for one connection; one that falls further behind is given up.
pub(super) const WAITING_MAX: usize = 256;

/// What a connection is told.
#[derive(Debug, Clone)]
pub(super) enum Push {
    /// To be sent as it is.
    Text(Arc<str>),
    /// Something happened to a device, up to this position of the log: who may look at it?
    DeviceChanged { device: Uuid, position: u64 },
    /// Something happened to whoever is at the other end.
    CallerChanged { position: u64 },
}

struct Connection {
    pushes: mpsc::Sender<Push>,
    caller: Option<Uuid>,
    devices: HashSet<Uuid>,
}

/// All connections of this server.
#[derive(Default)]
pub(super) struct Registry {
    next: u64,
    connections: HashMap<u64, Connection>,
    by_device: HashMap<Uuid, HashSet<u64>>,
    by_caller: HashMap<Uuid, HashSet<u64>>,
}

impl Registry {
    /// One more connection, unless there are too many.
    pub(super) fn add(&mut self, connections_max: usize) -> Option<(u64, mpsc::Receiver<Push>)> {
        if self.connections.len() >= connections_max {
            return None;
        }
        self.next += 1;
        let (pushes, waiting) = mpsc::channel(WAITING_MAX);
        self.connections.insert(self.next, Connection { pushes, caller: None, devices: HashSet::new() });
        Some((self.next, waiting))
    }

    pub(super) fn remove(&mut self, id: u64) {
        let Some(connection) = self.connections.remove(&id) else { return };
        connection.devices.iter().for_each(|device| forget(&mut self.by_device, *device, id));
        connection.caller.iter().for_each(|caller| forget(&mut self.by_caller, *caller, id));
    }

    /// Whose connection it is. Answers false when the caller has too many.
    pub(super) fn identify(&mut self, id: u64, caller: Uuid, per_caller_max: usize) -> bool {
        let theirs = self.by_caller.entry(caller).or_default();
        if theirs.len() >= per_caller_max {
            return false;
        }
        theirs.insert(id);
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.caller = Some(caller);
        }
        true
    }

    /// Answers false when the connection listens to `devices_max` others already.
    pub(super) fn subscribe(&mut self, id: u64, device: Uuid, devices_max: usize) -> bool {
        let Some(connection) = self.connections.get_mut(&id) else { return false };
        if !connection.devices.contains(&device) && connection.devices.len() >= devices_max {
            return false;
        }
        connection.devices.insert(device);
        self.by_device.entry(device).or_default().insert(id);
        true
    }

    pub(super) fn unsubscribe(&mut self, id: u64, device: Uuid) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.devices.remove(&device);
        }
        forget(&mut self.by_device, device, id);
    }

    pub(super) fn nobody_listens(&self) -> bool {
        self.by_device.is_empty()
    }

    pub(super) fn listens(&self, device: Uuid) -> bool {
        self.by_device.contains_key(&device)
    }

    /// Tells all who listen to `device`.
    pub(super) fn tell_of_device(&mut self, device: Uuid, push: &Push) {
        let listening = self.by_device.get(&device).map(|ids| ids.iter().copied().collect()).unwrap_or_default();
        self.tell(listening, push);
    }

    /// Tells all connections of `caller`.
    pub(super) fn tell_caller(&mut self, caller: Uuid, push: &Push) {
        let theirs = self.by_caller.get(&caller).map(|ids| ids.iter().copied().collect()).unwrap_or_default();
        self.tell(theirs, push);
    }

    /// Nothing waits for ever: a connection that does not take its pushes is given up.
    fn tell(&mut self, ids: Vec<u64>, push: &Push) {
        for id in ids {
            let told = self.connections.get(&id).is_some_and(|to| to.pushes.try_send(push.clone()).is_ok());
            if !told {
                self.remove(id);
            }
        }
    }
}

fn forget(index: &mut HashMap<Uuid, HashSet<u64>>, key: Uuid, id: u64) {
    if let Some(ids) = index.get_mut(&key) {
        ids.remove(&id);
        if ids.is_empty() {
            index.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEVICE: Uuid = Uuid::from_u128(1);
    const CALLER: Uuid = Uuid::from_u128(2);

    fn text() -> Push {
        Push::Text("x".into())
    }

    #[test]
    fn pushes_reach_who_listens() {
        let mut registry = Registry::default();
        let (first, mut waiting) = registry.add(10).unwrap();
        let (_, mut other) = registry.add(10).unwrap();
        assert!(registry.subscribe(first, DEVICE, 1));
        assert!(!registry.subscribe(first, CALLER, 1));
        registry.tell_of_device(DEVICE, &text());
        assert!(waiting.try_recv().is_ok() && other.try_recv().is_err());
        registry.unsubscribe(first, DEVICE);
        registry.tell_of_device(DEVICE, &text());
        assert!(waiting.try_recv().is_err() && registry.nobody_listens());
    }

    #[test]
    fn who_does_not_take_pushes_is_given_up() {
        let mut registry = Registry::default();
        let (slow, mut waiting) = registry.add(10).unwrap();
        registry.subscribe(slow, DEVICE, 1);
        (0..=WAITING_MAX).for_each(|_| registry.tell_of_device(DEVICE, &text()));
        assert!(registry.nobody_listens());
        let told = std::iter::from_fn(|| waiting.try_recv().ok()).count();
        assert_eq!(told, WAITING_MAX);
        assert!(waiting.is_closed());
    }

    #[test]
    fn there_are_limits() {
        let mut registry = Registry::default();
        let (first, _waiting) = registry.add(2).unwrap();
        let (second, _also_waiting) = registry.add(2).unwrap();
        assert!(registry.add(2).is_none());
        assert!(registry.identify(first, CALLER, 1) && !registry.identify(second, CALLER, 1));
        registry.remove(first);
        assert!(registry.add(2).is_some() && registry.identify(second, CALLER, 1));
    }
}
