//! [`Line`]: a line between two machines that loses packets, delays them, carries few of them, or is cut.
//!
//! Each machine has a TUN device. The line reads every IP packet of one end and writes it to the other, so TCP and QUIC see
//! the loss and the delay themselves. Packets have 1,500 bytes at most: nothing joins them before they are lost.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use tun_rs::{DeviceBuilder, SyncDevice};

use crate::chance::Chance;
use crate::netns;
use crate::process::left_out;

/// Bytes of the largest packet.
pub const MTU: u16 = 1500;
/// Packets on the way in one direction: 12 MB, more than any line of the tests holds.
const ON_THE_WAY_MAX: usize = 8192;

/// Tells whether no line can be laid here, and says that `what` is left out for that.
pub fn is_left_out(what: &str) -> bool {
    let has_tun = Path::new("/dev/net/tun").exists();
    if !has_tun {
        left_out(what, "/dev/net/tun is missing", "load the kernel's module tun");
    }
    !has_tun || netns::is_left_out(what)
}

/// What a line does to packets, in each direction.
#[derive(Debug, Clone, Copy, Default)]
pub struct Manner {
    /// How long a packet travels.
    pub delay: Duration,
    /// Packets of 100 that are lost.
    pub loss: u64,
    /// Bits per second; `None` without a limit. Packets that would wait for longer than [`Manner::QUEUE`] are lost.
    pub rate: Option<u64>,
}

impl Manner {
    /// The queue before a slow line: that of a good router.
    pub const QUEUE: Duration = Duration::from_millis(200);
}

/// A line between two devices. It works until the devices are removed with their machines.
#[derive(Debug)]
pub struct Line {
    is_cut: Arc<AtomicBool>,
}

/// The two ends of a line, before it is laid.
pub struct Ends([Arc<SyncDevice>; 2]);

impl Ends {
    /// Makes two devices of these names, for the caller to move into machines.
    ///
    /// # Errors
    /// If the system permits no TUN devices.
    pub fn new(names: [&str; 2]) -> io::Result<Self> {
        let [one, two] =
            names.map(|name| DeviceBuilder::new().name(name).mtu(MTU).build_sync().map(Arc::new));
        Ok(Self([one?, two?]))
    }

    /// Begins to carry packets between the two devices.
    pub fn lay(self, manner: Manner, chance: &mut Chance) -> Line {
        let is_cut = Arc::new(AtomicBool::new(false));
        let [one, two] = self.0;
        for (from, to) in [(one.clone(), two.clone()), (two, one)] {
            let (is_cut, chance) = (is_cut.clone(), Chance::new(chance.below(u64::MAX)));
            let (sender, on_the_way) = sync_channel::<(Instant, Vec<u8>)>(ON_THE_WAY_MAX);
            std::thread::spawn(move || take(&from, manner, &is_cut, chance, &sender));
            std::thread::spawn(move || {
                for (due, packet) in on_the_way {
                    std::thread::sleep(due.saturating_duration_since(Instant::now()));
                    let _gone = to.send(&packet);
                }
            });
        }
        Line { is_cut }
    }
}

impl Line {
    /// Cuts the line, or joins it again. A cut line loses every packet.
    pub fn cut(&self, is_cut: bool) {
        self.is_cut.store(is_cut, Ordering::Relaxed);
    }
}

/// Takes packets from a device until it is removed, and sends on those that are not lost.
fn take(
    from: &SyncDevice,
    manner: Manner,
    is_cut: &AtomicBool,
    mut chance: Chance,
    sender: &SyncSender<(Instant, Vec<u8>)>,
) {
    let mut packet = vec![0; usize::from(MTU)];
    let mut free = Instant::now();
    while let Ok(length) = from.recv(&mut packet) {
        let now = Instant::now();
        if is_cut.load(Ordering::Relaxed) || chance.percent(manner.loss) {
            continue;
        }
        if let Some(rate) = manner.rate {
            free = free.max(now);
            if free - now > Manner::QUEUE {
                continue;
            }
            free += Duration::from_secs_f64(length as f64 * 8.0 / rate as f64);
        }
        let due = manner.rate.map_or(now, |_| free) + manner.delay;
        match sender.try_send((due, packet[..length].to_vec())) {
            Ok(()) | Err(TrySendError::Full(_)) => {}
            Err(TrySendError::Disconnected(_)) => return,
        }
    }
}
