//! What is done to pipes: look at their content, move it, throw it away. Nothing here ever waits.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, ioctl_fionread, read, retry_on_intr};
use rustix::pipe::{PipeFlags, SpliceFlags, pipe_with, splice, tee};

/// The most that is moved for one pipe before the next pipe has its turn, in bytes.
pub(super) const ROUND_BYTES: usize = 64 * 1024;

/// Opens the named pipe at `path` for reading.
///
/// It is opened for writing as well, which Linux allows (fifo(7)): a pipe that has a writer for as long as we look at
/// it never reports a hang-up, so that the death of the keeper and of all writers is no event at all here.
pub(super) fn open_pipe(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NOFOLLOW;
    let pipe = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    if !pipe.metadata()?.file_type().is_fifo() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a named pipe"));
    }
    Ok(pipe)
}

/// Moves at most `bytes_max` bytes from `pipe` into `file` at `offset`; 0 when the pipe is empty.
///
/// The kernel takes out of the pipe exactly what it has written (splice(2)), so that whoever is killed here leaves
/// every byte in one of the two places and none in both.
pub(super) fn transfer(pipe: &File, file: &File, mut offset: u64, bytes_max: usize) -> io::Result<usize> {
    let moved =
        retry_on_intr(|| splice(pipe, None, file, Some(&mut offset), bytes_max, SpliceFlags::NONBLOCK));
    empty_is_zero(moved)
}

/// How many bytes are in `pipe`.
pub(super) fn waiting_bytes(pipe: &File) -> io::Result<usize> {
    Ok(usize::try_from(ioctl_fionread(pipe)?).unwrap_or(usize::MAX))
}

/// Whether the writers of `pipe` have to wait.
pub(super) fn is_full(pipe: &File) -> io::Result<bool> {
    let mut room = [PollFd::new(pipe, PollFlags::OUT)];
    retry_on_intr(|| poll(&mut room, Some(&Timespec::default())))?;
    Ok(!room[0].revents().contains(PollFlags::OUT))
}

/// The pipe into which others are copied to look at their content, and where content is thrown away.
#[derive(Debug)]
pub(super) struct Plumbing {
    copy_out: OwnedFd,
    copy_in: OwnedFd,
    nowhere: File,
    buffer: Box<[u8]>,
}

impl Plumbing {
    pub(super) fn new() -> io::Result<Self> {
        let (copy_out, copy_in) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        let nowhere = OpenOptions::new().write(true).open("/dev/null")?;
        Ok(Self { copy_out, copy_in, nowhere, buffer: vec![0; ROUND_BYTES].into_boxed_slice() })
    }

    /// The front of the pipe's content, at most `bytes_max` and [`ROUND_BYTES`], which stays in the pipe.
    ///
    /// It may be less than is there: the kernel gives pipes of one page to users who have very many.
    pub(super) fn peek(&mut self, pipe: &File, bytes_max: usize) -> io::Result<&[u8]> {
        let wanted = bytes_max.min(ROUND_BYTES);
        let copied =
            empty_is_zero(retry_on_intr(|| tee(pipe, &self.copy_in, wanted, SpliceFlags::NONBLOCK)))?;
        let mut seen = 0;
        while seen < copied {
            // The copy is all there, and nobody else reads it: an end or an error would be a fault of the kernel.
            match retry_on_intr(|| read(&self.copy_out, &mut self.buffer[seen..copied]))? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                more => seen += more,
            }
        }
        Ok(&self.buffer[..copied])
    }

    /// Throws away at most `bytes` bytes of the pipe's content and says how many there were.
    pub(super) fn discard(&self, pipe: &File, bytes: usize) -> io::Result<usize> {
        let mut gone = 0;
        while gone < bytes {
            let rest = bytes - gone;
            let nowhere = self.nowhere.as_fd();
            match empty_is_zero(retry_on_intr(|| {
                splice(pipe, None, nowhere, None, rest, SpliceFlags::NONBLOCK)
            }))? {
                0 => break,
                more => gone += more,
            }
        }
        Ok(gone)
    }
}

fn empty_is_zero(moved: Result<usize, Errno>) -> io::Result<usize> {
    match moved {
        Err(Errno::AGAIN) => Ok(0),
        other => Ok(other?),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use rustix::pipe::fcntl_setpipe_size;

    use super::*;
    use crate::logs::testing::named_pipe;

    #[test]
    fn what_was_looked_at_is_still_there_and_what_was_thrown_away_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let mut pipe = named_pipe(&folder.path().join("pipe"));
        let mut plumbing = Plumbing::new().unwrap();
        assert_eq!(plumbing.peek(&pipe, 100).unwrap(), b"");
        pipe.write_all(b"one two three").unwrap();
        assert_eq!(plumbing.peek(&pipe, 7).unwrap(), b"one two");
        assert_eq!(plumbing.peek(&pipe, 100).unwrap(), b"one two three");
        assert_eq!(plumbing.discard(&pipe, 4).unwrap(), 4);
        assert_eq!(plumbing.peek(&pipe, 100).unwrap(), b"two three");
        assert_eq!(plumbing.discard(&pipe, 100).unwrap(), 9);
        assert_eq!(waiting_bytes(&pipe).unwrap(), 0);
    }

    #[test]
    fn a_pipe_without_room_is_known_to_be_full() {
        let folder = tempfile::tempdir().unwrap();
        let mut pipe = named_pipe(&folder.path().join("pipe"));
        fcntl_setpipe_size(&pipe, 4096).unwrap();
        assert!(!is_full(&pipe).unwrap());
        pipe.write_all(&[b'x'; 4096]).unwrap();
        assert!(is_full(&pipe).unwrap());
    }

    #[test]
    fn only_a_named_pipe_is_opened_as_one() {
        let folder = tempfile::tempdir().unwrap();
        let plain = folder.path().join("plain");
        std::fs::write(&plain, "text").unwrap();
        assert_eq!(open_pipe(&plain).unwrap_err().to_string(), "it is not a named pipe");
        assert_eq!(open_pipe(&folder.path().join("none")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
