//! A publisher on a sound disk. The nodes of a test pull its models, each of them once.

use std::cell::RefCell;
use std::path::PathBuf;

use reg_testnet::model;
use reg_testnet::process::{Daemon, Home};

use crate::node::FLAGS;

/// A model that is published.
#[derive(Debug, Clone)]
pub(super) struct Published {
    pub(super) reference: String,
    /// The files that it was made of.
    pub(super) dir: PathBuf,
}

pub(super) struct Source {
    daemon: Daemon,
    home: Home,
    id: String,
    models: RefCell<Vec<Published>>,
}

impl Source {
    pub(super) fn new() -> Self {
        let home = Home::new("source");
        let id = home.key("them");
        Self { daemon: Daemon::start(&home, FLAGS), home, id, models: RefCell::default() }
    }

    pub(super) fn address(&self) -> String {
        self.daemon.address()
    }

    /// Tells whether a model is one of its models.
    pub(super) fn has(&self, model: &Published) -> bool {
        model.reference.starts_with(&self.id)
    }

    /// Returns one of its models. It is made and published when a node asks for it first.
    pub(super) fn model(&self, number: usize) -> Published {
        let mut models = self.models.borrow_mut();
        while models.len() <= number {
            let made = models.len() as u64;
            // Models of other publishers have odd seeds.
            let (dir, name) = make(&self.home, made, made * 2);
            self.home.publish(&dir, &name, "them");
            models.push(Published { reference: format!("{}/{name}", self.id), dir });
        }
        models[number].clone()
    }
}

/// Makes a model of several pieces, a part of one, and small files; returns its folder and its name.
pub(super) fn make(home: &Home, number: u64, seed: u64) -> (PathBuf, String) {
    let dir = home.path().join("models").join(number.to_string());
    model::generate(&dir, (4 << 20) + 4096 * (number % 7), seed);
    (dir, format!("model-{number}:v1"))
}
