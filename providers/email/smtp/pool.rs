//! Connections that wait for the next message.

use std::{
    fmt,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::session::Session;

/// Open connections, the one used last on top.
pub(super) struct Pool {
    waiting: Mutex<Vec<Session>>,
    max_waiting: usize,
    max_messages: u32,
    idle: Duration,
}

impl Pool {
    pub(super) fn new(max_waiting: usize, max_messages: u32, idle: Duration) -> Self {
        Self { waiting: Mutex::new(Vec::new()), max_waiting, max_messages, idle }
    }

    /// A connection that seems to live.
    pub(super) fn take(&self) -> Option<Session> {
        loop {
            let mut session = {
                let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
                self.drop_old(&mut waiting);
                waiting.pop()?
            };
            if session.is_quiet() {
                return Some(session);
            }
        }
    }

    /// Keeps a connection, or closes it when it is worn out or there are enough.
    pub(super) fn put(&self, mut session: Session) {
        if !session.reusable {
            return;
        }
        if session.used >= self.max_messages {
            return session.leave();
        }
        session.idle_since = Instant::now();
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        self.drop_old(&mut waiting);
        if waiting.len() < self.max_waiting {
            waiting.push(session);
        } else {
            session.leave();
        }
    }

    /// The oldest lie at the bottom.
    fn drop_old(&self, waiting: &mut Vec<Session>) {
        let old = waiting.iter().take_while(|session| session.idle_since.elapsed() >= self.idle).count();
        waiting.drain(..old).for_each(Session::leave);
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("max_waiting", &self.max_waiting).finish_non_exhaustive()
    }
}
