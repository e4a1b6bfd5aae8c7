//! Measures the floor: a plain socket for each core without encryption, this project's fastest hasher, and a write.
//!
//! No program that transfers verified bytes to a disk can be much faster on the same machine. Both ends are processes of
//! their own, as with the other contenders.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;

use reg_proto::digest::Digest;
use reg_proto::piece::{BlobLayout, PieceIndex};
use reg_proto::states::{Claim, PieceStates};

use super::cost::{Cost, run};
use super::hashing::hash;
use reg_testnet::process::cpu_seconds;

/// Runs one end if this process was started as one, and returns its exit code. Else returns `None`.
pub(crate) fn run_as_told() -> Option<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["floor-serve", file] => serve(Path::new(file)).expect("the floor is served"),
        ["floor-fetch", port, file, digest, states, out] => {
            let port = port.parse().expect("a port");
            let size = File::open(file).and_then(|file| file.metadata()).expect("the weights").len();
            let layout = BlobLayout::new(size).expect("a blob");
            let states = std::fs::read(states).expect("the states");
            let states = PieceStates::parse(layout, &states).expect("the states");
            fetch(port, &digest.parse().expect("a digest"), &states, Path::new(out))
                .expect("the floor is fetched");
        }
        _ => return None,
    }
    Some(())
}

/// The serving end, and the arguments for the fetching end.
pub(crate) struct Floor {
    server: Child,
    port: String,
    file: PathBuf,
    digest: Digest,
    states: PathBuf,
    out: PathBuf,
}

impl Floor {
    pub(crate) fn start(file: &Path, scratch: &Path) -> Self {
        let hashed = hash(file);
        let (states, out) = (scratch.join("floor.states"), scratch.join("floor.out"));
        std::fs::write(&states, hashed.states.to_bytes()).expect("written");
        let own = std::env::current_exe().expect("this program has a path");
        let mut command = Command::new(own);
        let mut server =
            command.arg("floor-serve").arg(file).stdout(Stdio::piped()).spawn().expect("it starts");
        let mut port = String::new();
        let told = server.stdout.take().expect("a pipe");
        BufReader::new(told).read_line(&mut port).expect("it prints its port");
        let (file, port) = (file.to_owned(), port.trim().to_owned());
        Self { server, port, file, digest: hashed.digest, states, out }
    }

    /// Fetches the file once.
    pub(crate) fn measure(&self) -> Option<Cost> {
        let own = std::env::current_exe().expect("this program has a path");
        let before = cpu_seconds(self.server.id()).unwrap_or(0.0);
        let mut command = Command::new(own);
        command.args(["floor-fetch", &self.port]).arg(&self.file).arg(self.digest.to_string());
        let cost = run(command.arg(&self.states).arg(&self.out))?;
        drop(std::fs::remove_file(&self.out));
        Some(cost.with_server(before, cpu_seconds(self.server.id()).unwrap_or(0.0)))
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        drop(self.server.kill());
        drop(self.server.wait());
    }
}

/// Sends the requested ranges from the page cache.
fn serve(path: &Path) -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?.port());
    for socket in listener.incoming() {
        let mut socket = socket?;
        let path = path.to_owned();
        thread::spawn(move || -> io::Result<()> {
            let mut range = [0; 16];
            socket.read_exact(&mut range)?;
            let [start, length] =
                [0, 8].map(|at| u64::from_le_bytes(range[at..at + 8].try_into().expect("eight bytes")));
            let mut file = File::open(path)?;
            io::Seek::seek(&mut file, io::SeekFrom::Start(start))?;
            io::copy(&mut file.take(length), &mut socket).map(drop)
        });
    }
    Ok(())
}

/// Fetches with a socket for each core. Each reads two pieces, verifies them with interleaved rounds, and writes them.
fn fetch(port: u16, blob: &Digest, states: &PieceStates, out: &Path) -> io::Result<()> {
    let file = OpenOptions::new().write(true).create(true).truncate(true).open(out)?;
    file.set_len(states.layout().size())?;
    let pieces: Vec<PieceIndex> = states.layout().pieces().collect();
    let cores = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let parts = pieces.chunks(pieces.len().div_ceil(cores));
        let running: Vec<_> =
            parts.map(|part| scope.spawn(|| fetch_part(port, (blob, states), part, &file))).collect();
        running.into_iter().try_for_each(|it| it.join().expect("no panic"))
    })?;
    file.sync_all()
}

fn fetch_part(
    port: u16,
    (blob, states): (&Digest, &PieceStates),
    pieces: &[PieceIndex],
    file: &File,
) -> io::Result<()> {
    let layout = states.layout();
    let [Some(first), Some(last)] = [pieces.first(), pieces.last()] else { return Ok(()) };
    let start = layout.offset(*first);
    let end = layout.offset(*last) + layout.piece_len(*last) as u64;
    let mut socket = TcpStream::connect(("127.0.0.1", port))?;
    socket.write_all(&[start.to_le_bytes(), (end - start).to_le_bytes()].concat())?;
    let mut buffers = [Vec::new(), Vec::new()];
    for two in pieces.chunks(2) {
        for (piece, buffer) in two.iter().zip(&mut buffers) {
            buffer.resize(layout.piece_len(*piece), 0);
            socket.read_exact(buffer)?;
        }
        let claim = |(piece, bytes): (&PieceIndex, &'_ Vec<u8>)| -> bool {
            Claim { states, blob, piece: *piece, bytes }.verify()
        };
        let right = match two {
            [one, other] => {
                let claims = [(one, &buffers[0]), (other, &buffers[1])].map(|(piece, bytes)| Claim {
                    states,
                    blob,
                    piece: *piece,
                    bytes,
                });
                Claim::verify_two(claims[0], claims[1]) == (true, true)
            }
            two => two.iter().zip(&buffers).all(claim),
        };
        assert!(right, "the received bytes differ from the sent ones");
        for (piece, buffer) in two.iter().zip(&buffers) {
            file.write_all_at(buffer, layout.offset(*piece))?;
        }
    }
    Ok(())
}
