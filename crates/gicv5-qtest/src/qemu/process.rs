//! The process that QEMU is: its pipes, its monitor's socket, its end.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, ExitStatus};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

/// A QEMU without a monitor yet, which ends with this value.
pub(super) struct Unconnected {
    pub(super) child: Option<Child>,
    pub(super) directory: Option<PathBuf>,
}

impl Drop for Unconnected {
    fn drop(&mut self) {
        if let (Some(child), Some(directory)) = (&mut self.child, &self.directory) {
            end(child, directory);
        }
    }
}

/// Ends QEMU and removes its directory. Failures leave an empty directory at worst.
pub(super) fn end(child: &mut Child, directory: &PathBuf) {
    let _ = child.kill();
    let _ = child.wait();
    let _ = fs::remove_dir_all(directory);
}

pub(super) enum Connect {
    Socket(io::Error),
    Ended(ExitStatus),
}

/// Connects to the monitor as soon as QEMU has made its socket.
pub(super) fn connect(child: &mut Child, socket: &PathBuf, timeout: Duration) -> Result<UnixStream, Connect> {
    let deadline = Instant::now() + timeout;
    loop {
        match UnixStream::connect(socket) {
            Ok(stream) => {
                stream.set_read_timeout(Some(timeout)).map_err(Connect::Socket)?;
                stream.set_write_timeout(Some(timeout)).map_err(Connect::Socket)?;
                return Ok(stream);
            }
            Err(error) if Instant::now() > deadline => return Err(Connect::Socket(error)),
            Err(_) => {}
        }
        if let Ok(Some(status)) = child.try_wait() {
            return Err(Connect::Ended(status));
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// A thread that writes what it is sent; it ends with its sender or with the pipe.
pub(super) fn writer(pipe: Option<impl Write + Send + 'static>) -> Sender<String> {
    let (sender, receiver) = mpsc::channel::<String>();
    if let Some(mut pipe) = pipe {
        thread::spawn(move || {
            for text in receiver {
                if pipe.write_all(text.as_bytes()).and_then(|()| pipe.flush()).is_err() {
                    return;
                }
            }
        });
    }
    sender
}

/// A thread that sends every line it reads; it ends with the pipe.
pub(super) fn reader(pipe: Option<impl Read + Send + 'static>) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    if let Some(pipe) = pipe {
        thread::spawn(move || {
            for line in BufReader::new(pipe).split(b'\n') {
                let Ok(line) = line else { return };
                if sender.send(String::from_utf8_lossy(&line).trim_end().to_owned()).is_err() {
                    return;
                }
            }
        });
    }
    receiver
}

/// What is left in a pipe whose other end is closed, or closes soon.
pub(super) fn drain(receiver: &Receiver<String>) -> Vec<String> {
    let mut lines = Vec::new();
    while let Ok(line) = receiver.recv_timeout(Duration::from_millis(500)) {
        lines.push(line);
    }
    lines
}
