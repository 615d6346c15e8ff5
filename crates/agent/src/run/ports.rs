//! What stands in the table beside policy: who leaves with the node's address, and which of its addresses and ports lead to pods.
//!
//! A port of the node leads to the pod that asked first; whoever asks for it then is refused, by name.

use tortie_api::event::Event;

use super::{Agent, Answer};
use crate::core::Input;
use crate::protocol::Reply;

impl Agent<'_> {
    /// Takes in what a CNI plugin has written, and answers when it is in force. What it asks the node for leads there before
    /// its policy is known: until then nothing passes.
    pub(super) fn on_written(&mut self, events: Vec<Event>, answer: Answer) {
        let (mut pools, mut taken) = (false, None);
        for event in events {
            pools |= self.pools.on_event(&event);
            if let Event::Upsert(resource) = &event {
                taken = taken.or_else(|| self.pools.taken(&resource.key()));
            }
            self.core.on_input(Input::Event(event));
        }
        if pools {
            self.lead_out();
        }
        match taken {
            // What was written is taken back by who wrote it.
            Some((port, of)) => {
                answer.give(Reply::Error(format!("host port {port} is taken by {}", of.full_name())));
            }
            None => self.wait(answer),
        }
    }

    /// Writes what follows from pools and pods beside policy.
    pub(super) fn lead_out(&mut self) {
        if let Err(error) = self.driver.set_outgoing(self.pools.outgoing()) {
            tracing::error!(%error, "the kernel refused; trying again from the start");
            self.core.on_input(Input::Drift);
        }
    }
}
