//! Measures what the header of a weight file makes its reader hold: at most 64 MiB more, whatever the header says.
//!
//! Each header is read in a process of its own, which tells the largest size that it had.

use std::io::{self, Read};
use std::process::Command;

use reg_proto::content::safetensors::{
    DIMENSIONS_MAX, HEADER_BYTES_MAX, NAMES_BYTES_MAX, PREFIX_LEN, TENSORS_MAX, read,
};

const MORE_BYTES_MAX: u64 = 64 << 20;
/// Names the case that a child of this process reads.
const CASE: &str = "REG_MEMORY_CASE";
/// Bytes of one part of a long text.
const MIB: usize = 1 << 20;

/// A part of a header: what is written for each number, and how many there are.
type Part = (fn(u32) -> String, u32);

const OPEN: Part = (|_| "{".to_owned(), 1);
const CLOSE: Part = (|_| "}".to_owned(), 1);
const LONG: Part = (|_| "a".repeat(MIB), 90);

fn cases() -> Vec<(&'static str, Vec<Part>)> {
    let tensors: Part = (tensor, TENSORS_MAX as u32);
    vec![
        ("as much as is allowed", vec![OPEN, tensors, CLOSE]),
        ("a long name", vec![(|_| "{\"".to_owned(), 1), LONG, (|_| "\":{}}".to_owned(), 1)]),
        (
            "a long note",
            vec![(|_| "{\"__metadata__\":{\"a\":\"".to_owned(), 1), LONG, (|_| "\"}}".to_owned(), 1)],
        ),
        ("long names of notes", vec![(|_| "{\"__metadata__\":{".to_owned(), 1), (note, 90), CLOSE, CLOSE]),
        (
            "a long number",
            vec![
                (|_| "{\"a\":{\"shape\":[".to_owned(), 1),
                (|_| "1".repeat(MIB), 90),
                (|_| "]}}".to_owned(), 1),
            ],
        ),
        (
            "a long field that is ignored",
            vec![
                (|_| "{\"a\":{\"x\":[0".to_owned(), 1),
                (|_| ",{\"a\":[\"b\",1e5]}".repeat(MIB / 16), 40),
                (|_| "]}}".to_owned(), 1),
            ],
        ),
        ("deep lists", vec![(|_| "{\"a\":{\"x\":".to_owned(), 1), (|_| "[".repeat(MIB), 90)]),
    ]
}

/// An entry of a tensor with its share of what all may have.
fn tensor(number: u32) -> String {
    let width = NAMES_BYTES_MAX / TENSORS_MAX;
    let shape = ["0"; DIMENSIONS_MAX / TENSORS_MAX].join(",");
    let comma = if number == 0 { "" } else { "," };
    format!(r#"{comma}"{number:0width$}":{{"dtype":"U8","shape":[{shape}],"data_offsets":[0,0]}}"#)
}

fn note(number: u32) -> String {
    let comma = if number == 0 { "" } else { "," };
    format!("{comma}\"{number}{}\":\"\"", "a".repeat(MIB - 16))
}

/// A header that is made while it is read.
struct Made {
    parts: Vec<Part>,
    part: usize,
    number: u32,
    chunk: Vec<u8>,
    at: usize,
}

impl Made {
    const fn new(parts: Vec<Part>) -> Self {
        Self { parts, part: 0, number: 0, chunk: Vec::new(), at: 0 }
    }
}

impl Read for Made {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.chunk.len() {
            let Some((make, count)) = self.parts.get(self.part) else { return Ok(0) };
            if self.number == *count {
                (self.part, self.number) = (self.part + 1, 0);
                continue;
            }
            (self.chunk, self.at) = (make(self.number).into_bytes(), 0);
            self.number += 1;
        }
        let count = buffer.len().min(self.chunk.len() - self.at);
        buffer[..count].copy_from_slice(&self.chunk[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

/// The largest size that this process had, in bytes.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux tells it");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("Linux tells it");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).expect("a number") << 10
}

/// Reads a header where a parent asks for it, and tells how much this process grew.
#[test]
fn child() {
    let Some(case) = std::env::var(CASE).ok() else { return };
    let (_, parts) = cases().into_iter().find(|(name, _)| *name == case).expect("a case");
    let length = io::copy(&mut Made::new(parts.clone()), &mut io::sink()).expect("it is made");
    assert!(length <= HEADER_BYTES_MAX, "{case} has {length} bytes");
    let before = peak();
    let read = read(&mut Made::new(parts), length, PREFIX_LEN + length);
    println!("grown={} ok={}", peak() - before, read.is_ok());
}

#[test]
fn a_header_takes_at_most_64_mib() {
    for (case, _) in cases() {
        let mut child = Command::new(std::env::current_exe().expect("this test is a file"));
        let child = child.args(["--exact", "memory::child", "--nocapture"]).env(CASE, case);
        let out = child.output().expect("it runs");
        let said = String::from_utf8_lossy(&out.stdout).into_owned();
        assert!(out.status.success(), "{case}: {said}{}", String::from_utf8_lossy(&out.stderr));
        let (_, grown) = said.split_once("grown=").expect("the child tells it");
        let (grown, rest) = grown.split_once(' ').expect("two words");
        let grown: u64 = grown.parse().expect("a number");
        assert!(grown <= MORE_BYTES_MAX, "{case}: {grown} bytes");
        let is_sound = ["as much as is allowed", "a long note", "long names of notes"].contains(&case);
        assert_eq!(rest.starts_with("ok=true"), is_sound, "{case}");
    }
}
