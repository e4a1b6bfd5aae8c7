//! Detects a pickle that would call something, by walking its opcodes without executing them.
//!
//! Pickles since protocol 2 usually begin with byte 0x80, but need not. A program of protocol 0 is ASCII text, and Python
//! runs it whatever the file's name and format. So this module walks the first bytes of every file as a pickle.
//!
//! Source: CPython, Lib/pickletools.py.

/// The result of walking bytes as a pickle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Walk {
    /// It calls something by name.
    Calls,
    /// It ends or fails before it can have called anything.
    Harmless,
    /// It continues after the walked bytes.
    Unsettled,
}

/// Walks `head`, the first bytes of a file of `size` bytes, as Python's unpickler would.
pub(super) fn walk(head: &[u8], size: u64) -> Walk {
    let beyond = size.saturating_sub(head.len() as u64);
    let mut machine = Machine { rest: head, beyond, depth: 0, marks: Vec::new(), named: false };
    loop {
        match machine.step() {
            Ok(()) => {}
            Err(End::Calls) => return Walk::Calls,
            Err(End::StopsOrRaises) => return Walk::Harmless,
            Err(End::LeavesHead) => return Walk::Unsettled,
        }
    }
}

/// Why the walk has ended.
enum End {
    Calls,
    StopsOrRaises,
    LeavesHead,
}

type Step = Result<(), End>;

/// The part of an unpickler's state that decides whether the next opcode raises.
struct Machine<'a> {
    rest: &'a [u8],
    /// Bytes of the file after `rest`.
    beyond: u64,
    depth: usize,
    /// The stack's depth at each open mark.
    marks: Vec<usize>,
    /// Whether the program has put something importable on the stack.
    named: bool,
}

impl Machine<'_> {
    fn step(&mut self) -> Step {
        match self.take(1)?[0] {
            // PROTO and FRAME only have an argument.
            0x80 => self.skip(1, 0, 0),
            0x95 => self.skip(8, 0, 0),
            // Values of a fixed length.
            b'N' | 0x88 | 0x89 | b')' | b']' | b'}' | 0x8f | 0x97 => self.skip(0, 0, 1),
            b'K' | b'h' => self.skip(1, 0, 1),
            b'M' => self.skip(2, 0, 1),
            b'J' | b'j' => self.skip(4, 0, 1),
            b'G' => self.skip(8, 0, 1),
            // Values after their length.
            b'U' | 0x8a | b'C' | 0x8c => self.counted(1),
            b'T' | b'X' | b'B' | 0x8b => self.counted(4),
            0x8d | 0x8e | 0x96 => self.counted(8),
            // Values that end with the line.
            b'I' | b'L' | b'F' | b'g' => self.line(is_number),
            b'S' => self.line(is_quoted),
            b'V' => self.line(|_| true),
            // Memo and stack.
            b'p' => self.skip(0, 1, 0).and_then(|()| self.line(is_number)),
            b'q' => self.skip(1, 1, 1),
            b'r' => self.skip(4, 1, 1),
            0x94 | 0x98 | 0x85 => self.skip(0, 1, 1),
            0x86 | b'a' => self.skip(0, 2, 1),
            0x87 | b's' => self.skip(0, 3, 1),
            b'2' => self.skip(0, 1, 2),
            b'0' => self.pop(),
            b'(' => self.mark(),
            b'1' => self.drop_to_mark(0, 0),
            b'l' | b't' | b'd' | 0x91 => self.drop_to_mark(0, 1),
            b'e' | b'u' | 0x90 => self.drop_to_mark(1, 1),
            // Names, and calls of what they name.
            b'c' => self.global(),
            0x93 => self.skip(0, 2, 1).map(|()| self.named = true),
            0x82 => self.skip(1, 0, 1).map(|()| self.named = true),
            0x83 => self.skip(2, 0, 1).map(|()| self.named = true),
            0x84 => self.skip(4, 0, 1).map(|()| self.named = true),
            b'i' => self.instance(),
            b'R' | b'b' | 0x81 => self.call(2),
            0x92 => self.call(3),
            b'o' => self.call(1),
            // Most loaders fail at a persistent id. Torch's loader accepts it.
            b'P' | b'Q' => self.call(0),
            _ => Err(End::StopsOrRaises),
        }
    }

    fn take(&mut self, count: usize) -> Result<&[u8], End> {
        let Some((taken, rest)) = self.rest.split_at_checked(count) else {
            let missing = (count - self.rest.len()) as u64;
            return Err(if missing > self.beyond { End::StopsOrRaises } else { End::LeavesHead });
        };
        self.rest = rest;
        Ok(taken)
    }

    fn take_line(&mut self) -> Result<&[u8], End> {
        match self.rest.iter().position(|byte| *byte == b'\n') {
            Some(end) => self.take(end + 1).map(|line| &line[..end]),
            None if self.beyond == 0 => Err(End::StopsOrRaises),
            None => Err(End::LeavesHead),
        }
    }

    /// Returns the number of values above the newest mark. An opcode cannot pop the values below it.
    fn reachable(&self) -> usize {
        self.depth - self.marks.last().copied().unwrap_or(0)
    }

    /// Skips an argument of `count` bytes, then pops and pushes values.
    fn skip(&mut self, count: usize, pops: usize, pushes: usize) -> Step {
        self.take(count)?;
        if self.reachable() < pops {
            return Err(End::StopsOrRaises);
        }
        self.depth = self.depth - pops + pushes;
        Ok(())
    }

    /// Pushes a value that follows its length, which is `width` little-endian bytes.
    fn counted(&mut self, width: usize) -> Step {
        let length = self.take(width)?.iter().rev().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
        let length = usize::try_from(length).map_err(|_| End::StopsOrRaises)?;
        self.skip(length, 0, 1)
    }

    fn line(&mut self, accepts: impl Fn(&[u8]) -> bool) -> Step {
        if !accepts(self.take_line()?) {
            return Err(End::StopsOrRaises);
        }
        self.depth += 1;
        Ok(())
    }

    /// Pops a value, or the newest mark if there is no value above it.
    fn pop(&mut self) -> Step {
        if self.reachable() == 0 { self.drop_to_mark(0, 0) } else { self.skip(0, 1, 0) }
    }

    fn mark(&mut self) -> Step {
        self.marks.push(self.depth);
        Ok(())
    }

    /// Drops all values above the newest mark and the mark itself, then pops and pushes values.
    fn drop_to_mark(&mut self, pops: usize, pushes: usize) -> Step {
        self.depth = self.marks.pop().ok_or(End::StopsOrRaises)?;
        self.skip(0, pops, pushes)
    }

    fn global(&mut self) -> Step {
        let module = is_dotted_name(self.take_line()?);
        self.line(|name| module && is_dotted_name(name))?;
        self.named = true;
        Ok(())
    }

    fn instance(&mut self) -> Step {
        self.global()?;
        if self.marks.is_empty() { Err(End::StopsOrRaises) } else { Err(End::Calls) }
    }

    /// Calls, or sets the state of, one of the `operands` values on top.
    fn call(&mut self, operands: usize) -> Step {
        Err(if self.named && self.reachable() >= operands { End::Calls } else { End::StopsOrRaises })
    }
}

/// Returns whether Python's `int` or `float` may accept `line`.
fn is_number(line: &[u8]) -> bool {
    let line = line.trim_ascii();
    let word = line.strip_prefix(b"-").or(line.strip_prefix(b"+")).unwrap_or(line);
    let digits = line.iter().any(u8::is_ascii_digit)
        && line.iter().all(|byte| byte.is_ascii_alphanumeric() || b"+-._".contains(byte));
    digits || [b"inf".as_slice(), b"infinity", b"nan"].iter().any(|it| word.eq_ignore_ascii_case(it))
}

fn is_quoted(line: &[u8]) -> bool {
    let line = line.trim_ascii();
    line.len() >= 2 && b"'\"".contains(&line[0]) && line[0] == line[line.len() - 1]
}

/// Returns whether `line` is a dotted Python name. Counts every byte beyond ASCII as a letter.
fn is_dotted_name(line: &[u8]) -> bool {
    line.split(|byte| *byte == b'.').all(|part| {
        part.first().is_some_and(|byte| !byte.is_ascii_digit())
            && part.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_' || !byte.is_ascii())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walk_whole(bytes: &[u8]) -> Walk {
        walk(bytes, bytes.len() as u64)
    }

    #[test]
    fn sees_calls_of_every_protocol() {
        let programs: [&[u8]; 10] = [
            b"cos\nsystem\n(S'id'\ntR.",
            b"(S'id'\nios\nsystem\n.",
            b"(cos\nsystem\nS'id'\no.",
            b"c__builtin__\neval\n(V1+1\ntR garbage follows, the call has happened",
            b"\x80\x02cos\nsystem\nq\x00X\x02\x00\x00\x00idq\x01\x85q\x02Rq\x03.",
            b"\x80\x04\x95\x1d\0\0\0\0\0\0\0\x8c\x05posix\x94\x8c\x06system\x94\x93\x94\x8c\x02id\x94\x85\x94R\x94.",
            b"N0N0I1\n0Finf\n0cos\nsystem\n(S'id'\ntR.",
            b"(0cos\nsystem\n(S'id'\ntR.",
            b"cfoo\nBar\n)\x81}b.",
            b"(((1cos.path\nsystem\n)R.",
        ];
        for program in programs {
            assert_eq!(walk_whole(program), Walk::Calls, "{}", program.escape_ascii());
        }
    }

    #[test]
    fn what_cannot_call_is_harmless() {
        let texts: [&[u8]; 17] = [
            b"",
            b"# A model card\n\nSome text.\n",
            b"The model is a transformer with some layers.\n",
            b"cat\ndog\nbird\nfrog\n",
            b"[PAD]\n[unused0]\n",
            b"{\"a\": 1}",
            b"License: MIT\n",
            b"README\n",
            b"Vision transformer\nand more\n",
            b"Please read the licence\n",
            b"class Foo:\n    pass\n",
            b"import os\nos.system('id')\n",
            b"FUNC:_ZGTtv@@GLIBCXX_3.4\nFUNC:_ZGTt\n",
            b"I1\n.",
            b"(lp0\nI1\naI2\na.",
            b"\x80\x02]q\x00(K\x01K\x02e.",
            b"the cat\ncos\nsystem\n(S'id'\ntR.",
        ];
        for text in texts {
            assert_eq!(walk_whole(text), Walk::Harmless, "{}", text.escape_ascii());
        }
    }

    #[test]
    fn what_goes_on_out_of_sight_is_not_settled() {
        let mut head = b"V".to_vec();
        head.extend(vec![b'a'; 4000]);
        assert_eq!(walk(&head, 5000), Walk::Unsettled);
        assert_eq!(walk(&head, 4001), Walk::Harmless);
        assert_eq!(walk(&b"N0".repeat(2000), 5000), Walk::Unsettled);
        assert_eq!(walk(b"X\xff\xff\0\0", 0x1_0100), Walk::Unsettled);
        assert_eq!(walk(b"X\xff\xff\0\0", 0xff), Walk::Harmless);
    }
}
