//! Writes observations as they happen, so that the file can be judged even after `kill -9`.
//!
//! It refuses to wait for the disk's platters (a crash of the machine may lose the tail) and to
//! grow without end: beyond its limit it keeps what frames the run (phases, faults, processes) and
//! drops the rest, counted.

use super::{HistoryError, Observation, Recorder, line, packed};
use crate::units::Micros;
use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};
use tokio::sync::mpsc;

/// How long observations are gathered before they are written together: a quarter of
/// [`Writer::FLUSH_INTERVAL`], so that as much is left for the writing itself.
const GATHER: Duration = Duration::from_millis(25);

/// Writes a history as JSON Lines.
#[derive(Debug)]
pub struct Writer<W: Write = File> {
    out: BufWriter<W>,
    path: PathBuf,
    line: Vec<u8>,
    bytes: u64,
    bytes_max: u64,
    dropped: u64,
    last: Micros,
}

/// What was written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Written {
    /// Observations in the file.
    pub observations: u64,
    /// Observations dropped, by a full queue or a full file.
    pub dropped: u64,
}

impl Writer<File> {
    /// The size that a file may reach, in bytes: 2 GiB, about eight million observations.
    pub const BYTES_MAX: u64 = 2 << 30;

    /// The longest time an observation stays out of the file.
    pub const FLUSH_INTERVAL: Duration = Duration::from_millis(100);

    /// Creates (or empties) the file. What an earlier run packed beside it is removed.
    ///
    /// # Errors
    /// If it cannot be created.
    pub fn create(path: &Path) -> Result<Self, HistoryError> {
        let file = File::create(path).map_err(|source| HistoryError::Create {
            path: path.to_owned(),
            source,
        })?;
        // Where it cannot be removed this one is taken all the same, since both are there.
        let _ = fs::remove_file(packed(path));
        Ok(Self::over(file, path, Self::BYTES_MAX))
    }
}

impl<W: Write> Writer<W> {
    /// A writer over anything; `path` is what errors name, `bytes_max` the limit of its size.
    pub fn over(out: W, path: &Path, bytes_max: u64) -> Self {
        Self {
            out: BufWriter::with_capacity(256 << 10, out),
            path: path.to_owned(),
            line: Vec::with_capacity(512),
            bytes: 0,
            bytes_max,
            dropped: 0,
            last: Micros::default(),
        }
    }

    /// Writes one observation; whatever frames the run goes to the file at once. Beyond the size
    /// limit only that is still written. Says whether it was written.
    ///
    /// # Errors
    /// If the disk takes no more; the writer is then of no further use.
    pub fn write(&mut self, observation: &Observation) -> Result<bool, HistoryError> {
        let frames = frames_the_run(observation);
        self.last = self.last.max(observation.at());
        if !frames && self.bytes >= self.bytes_max {
            self.dropped += 1;
            return Ok(false);
        }
        self.line.clear();
        line::push(&mut self.line, observation)
            .map_err(io::Error::from)
            .map_err(|source| self.failed(source))?;
        self.out
            .write_all(&self.line)
            .map_err(|source| self.failed(source))?;
        self.bytes += self.line.len() as u64;
        if frames {
            self.flush()?;
        }
        Ok(true)
    }

    /// Counts observations that were lost before they came here.
    pub fn add_dropped(&mut self, count: u64) {
        self.dropped += count;
    }

    /// Writes how many were dropped since this was last done, if any.
    ///
    /// # Errors
    /// As [`Writer::write`].
    pub fn settle_dropped(&mut self) -> Result<u64, HistoryError> {
        let count = std::mem::take(&mut self.dropped);
        if count > 0 {
            self.write(&Observation::Dropped {
                at: self.last,
                count,
            })?;
        }
        Ok(count)
    }

    /// Writes who waited for room since this was last done, if anybody did.
    ///
    /// # Errors
    /// As [`Writer::write`].
    fn settle_waited(&mut self, recorder: &Recorder) -> Result<(), HistoryError> {
        match recorder.take_waited() {
            Some(waited) => self.write(&Observation::Waited(waited)).map(drop),
            None => Ok(()),
        }
    }

    /// Hands everything to the operating system.
    ///
    /// # Errors
    /// If the disk takes no more.
    pub fn flush(&mut self) -> Result<(), HistoryError> {
        self.out.flush().map_err(|source| self.failed(source))
    }

    /// Writes what comes out of the queue until every [`Recorder`] sender is gone or the entry
    /// that ends the run has come. `tap` sees every observation first (live progress, the steady
    /// state), also those that the file has no room for.
    ///
    /// It blocks the calling thread, which must be one of its own: neither the queue nor a slow disk
    /// then holds up the run. What is observed is gathered for a moment and written together, so
    /// that the thread is woken a few times a second and not for each observation.
    ///
    /// # Errors
    /// At the first failed write, and only then: recording has ended, and the queue is closed so
    /// that later observations count as dropped.
    pub fn record(
        &mut self,
        mut queue: mpsc::Receiver<Observation>,
        recorder: &Recorder,
        mut tap: impl FnMut(&Observation),
    ) -> Result<Written, HistoryError> {
        const BATCH: usize = 1024;
        let mut written = Written::default();
        let mut batch = Vec::with_capacity(BATCH);
        let mut unflushed = None;
        loop {
            let mut over = queue.blocking_recv_many(&mut batch, BATCH) == 0;
            let woken = Instant::now();
            for observation in batch.drain(..) {
                tap(&observation);
                let ends = matches!(observation, Observation::Ended(_));
                if ends {
                    self.settle_waited(recorder)?;
                    self.add_dropped(recorder.take_dropped());
                    written.dropped += self.settle_dropped()?;
                }
                written.observations += u64::from(self.write(&observation)?);
                over |= ends;
            }
            recorder.taken();
            let has_more = !over && !queue.is_empty();
            let since = *unflushed.get_or_insert(woken);
            if has_more && since.elapsed() < GATHER {
                continue;
            }
            self.settle_waited(recorder)?;
            self.add_dropped(recorder.take_dropped());
            written.dropped += self.settle_dropped()?;
            self.flush()?;
            unflushed = None;
            if over {
                return Ok(written);
            }
            if !has_more {
                thread::sleep(GATHER);
            }
        }
    }

    fn failed(&self, source: io::Error) -> HistoryError {
        HistoryError::Write {
            path: self.path.clone(),
            source,
        }
    }
}

/// Whether the rest makes no sense without it; such entries are few.
fn frames_the_run(observation: &Observation) -> bool {
    matches!(
        observation,
        Observation::Run(_)
            | Observation::Phase { .. }
            | Observation::Armed { .. }
            | Observation::Lifted { .. }
            | Observation::Process(_)
            | Observation::Dropped { .. }
            | Observation::Waited(_)
            | Observation::Stalled(_)
            | Observation::Watched { .. }
            | Observation::Ended(_)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        fault::FaultId,
        history::{Message, Moment},
    };
    use std::sync::{Arc, Mutex};

    fn message(second: u64) -> Observation {
        Observation::Message(Message {
            at: Micros::from_secs(second),
            dependency: "pager".into(),
            request: "POST /".into(),
            body: "x".repeat(100),
            cut: false,
            taken: true,
        })
    }

    fn ended() -> Observation {
        Observation::Ended(Moment {
            at: Micros::from_secs(9),
            how: "completed".into(),
        })
    }

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Shared {
        fn lines(&self) -> Vec<Observation> {
            let bytes = self.0.lock().unwrap().clone();
            bytes
                .split(|byte| *byte == b'\n')
                .filter(|line| !line.is_empty())
                .map(|line| serde_json::from_slice(line).unwrap())
                .collect()
        }
    }

    struct FullDisk;

    impl Write for FullDisk {
        fn write(&mut self, _bytes: &[u8]) -> io::Result<usize> {
            Err(io::Error::from(io::ErrorKind::StorageFull))
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_frames_the_run_is_in_the_file_at_once_and_the_rest_after_a_flush() {
        let out = Shared::default();
        let mut writer = Writer::over(out.clone(), Path::new("h"), u64::MAX);
        writer.write(&message(1)).unwrap();
        assert!(out.lines().is_empty());
        let phase = Observation::Phase {
            at: Micros::from_secs(2),
            index: 1,
        };
        writer.write(&phase).unwrap();
        assert_eq!(out.lines(), [message(1), phase]);
    }

    #[test]
    fn a_full_file_keeps_the_frame_and_counts_what_it_drops() {
        let out = Shared::default();
        let mut writer = Writer::over(out.clone(), Path::new("h"), 300);
        for second in 0..10 {
            writer.write(&message(second)).unwrap();
        }
        let lifted = Observation::Lifted {
            at: Micros::from_secs(9),
            fault: FaultId(0),
            hits: 3,
        };
        writer.write(&lifted).unwrap();
        writer.settle_dropped().unwrap();
        let lines = out.lines();
        let kept = lines
            .iter()
            .filter(|line| matches!(line, Observation::Message(_)))
            .count() as u64;
        assert!(kept < 10 && lines.contains(&lifted));
        assert_eq!(
            lines.last(),
            Some(&Observation::Dropped {
                at: Micros::from_secs(9),
                count: 10 - kept
            })
        );
    }

    /// Records on a thread of its own, as a run does.
    fn record(
        queue: mpsc::Receiver<Observation>,
        recorder: &Recorder,
        out: impl Write + Send + 'static,
    ) -> thread::JoinHandle<Result<(Written, u64), HistoryError>> {
        let recorder = recorder.clone();
        thread::spawn(move || {
            let mut writer = Writer::over(out, Path::new("out/history.jsonl"), u64::MAX);
            let mut tapped = 0;
            let written = writer.record(queue, &recorder, |_| tapped += 1)?;
            Ok((written, tapped))
        })
    }

    /// A file that says when it was written to, and how much.
    struct Told(std::sync::mpsc::Sender<usize>);

    impl Write for Told {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.0.send(bytes.len());
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn an_observation_is_in_the_file_though_nothing_comes_after_it() {
        let (recorder, queue) = Recorder::channel(10);
        let (told, writes) = std::sync::mpsc::channel();
        let writing = record(queue, &recorder, Told(told));
        for second in 1..=3 {
            let began = Instant::now();
            recorder.record(message(second));
            let written = writes.recv_timeout(Duration::from_secs(20));
            assert!(written.is_ok_and(|bytes| bytes > 100));
            // Much more than is promised, for a busy machine.
            assert!(began.elapsed() < Writer::FLUSH_INTERVAL * 10);
        }
        recorder.record(ended());
        let (written, tapped) = writing.join().unwrap().unwrap();
        assert_eq!((written.observations, tapped), (4, 4));
    }

    #[test]
    fn many_observations_cost_few_writes() {
        let (recorder, queue) = Recorder::channel(1_000_000);
        let (told, writes) = std::sync::mpsc::channel();
        let began = Instant::now();
        let writing = record(queue, &recorder, Told(told));
        let mut recorded = 0;
        while began.elapsed() < GATHER * 8 {
            // One at a time, with time in between to be woken for each.
            let next = Instant::now() + Duration::from_micros(200);
            recorder.record(message(recorded));
            recorded += 1;
            while Instant::now() < next {
                thread::yield_now();
            }
        }
        recorder.record(ended());
        let (written, _) = writing.join().unwrap().unwrap();
        let most = began.elapsed().as_millis() / GATHER.as_millis() + 3;
        assert_eq!(written.observations, recorded + 1);
        let writes = writes.iter().count();
        assert!((2..=most).contains(&(writes as u128)), "{writes} > {most}");
    }

    #[test]
    fn what_the_queue_dropped_is_counted_in_the_file_before_its_end() {
        let (recorder, queue) = Recorder::channel(3);
        for second in 0..5 {
            recorder.record(message(second));
        }
        let out = Shared::default();
        let writing = record(queue, &recorder, out.clone());
        let last = tokio::runtime::Builder::new_current_thread().build();
        last.unwrap().block_on(recorder.record_last(ended()));
        let (written, _) = writing.join().unwrap().unwrap();
        let expected = Written {
            observations: 4,
            dropped: 2,
        };
        assert_eq!(written, expected);
        assert!(
            out.lines()
                .iter()
                .any(|line| matches!(line, Observation::Dropped { count: 2, .. }))
        );
        assert_eq!(out.lines().last(), Some(&ended()));
    }

    /// How many observations are dropped of what a hundred clients do as fast as they can, and who
    /// waited, by the file.
    fn hurried(asks_for_room: bool) -> (u64, Vec<Observation>) {
        const CLIENTS: usize = 100;
        let (recorder, queue) = Recorder::channel(4_000);
        let out = Shared::default();
        let writing = record(queue, &recorder, out.clone());
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let client = async |recorder: Recorder| {
            for second in 0..500 {
                if asks_for_room {
                    recorder.room().await;
                }
                recorder.record(message(second));
                tokio::task::yield_now().await;
            }
        };
        let all = async {
            let clients = (0..CLIENTS).map(|_| client(recorder.clone()));
            futures_util::future::join_all(clients).await;
            recorder.record_last(ended()).await;
        };
        runtime.enable_all().build().unwrap().block_on(all);
        let (written, _) = writing.join().unwrap().unwrap();
        let text = String::from_utf8(out.0.lock().unwrap().clone()).unwrap();
        let waited = text.lines().filter(|line| line.contains("\"waited\""));
        let waited = waited.map(|line| serde_json::from_str(line).unwrap());
        (written.dropped, waited.collect())
    }

    #[test]
    fn who_asks_for_room_drops_nothing_and_what_that_cost_is_in_the_file() {
        let (dropped, waits) = hurried(false);
        assert!(dropped > 0, "it was no hurry");
        assert_eq!(waits, []);
        let (dropped, waits) = hurried(true);
        assert_eq!(dropped, 0);
        assert!(!waits.is_empty());
        for one in waits {
            let Observation::Waited(waited) = one else {
                panic!("{one:?}");
            };
            assert!(waited.count > 0 && waited.from <= waited.to, "{waited:?}");
        }
    }

    #[test]
    fn a_full_disk_ends_recording_once_with_an_error_that_names_the_file() {
        let (recorder, queue) = Recorder::channel(10);
        recorder.record(message(1));
        recorder.record(ended());
        let writing = record(queue, &recorder, FullDisk);
        let error = writing.join().unwrap().unwrap_err();
        assert!(error.to_string().contains("out/history.jsonl"), "{error}");
        recorder.record(message(2));
        assert_eq!(recorder.take_dropped(), 1);
    }

    #[test]
    fn recording_ends_when_nobody_is_left_to_observe() {
        let (recorder, queue) = Recorder::channel(10);
        let (other, _queue) = Recorder::channel(1);
        let writing = record(queue, &other, Shared::default());
        recorder.record(message(1));
        drop(recorder);
        let (written, tapped) = writing.join().unwrap().unwrap();
        assert_eq!((written.observations, tapped), (1, 1));
    }
}
