//! `--record`: what came to each queue, in files that `simulate` reads.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::flow::flow;
use super::programs::fit;
use super::recording::Recording;
use crate::cli::failure::Failure;
use crate::sys::cause::plain;

/// Refuses a place where nothing could be written at the end.
///
/// # Errors
/// It is not there.
pub(super) fn check(file: &Path) -> Result<(), Failure> {
    let directory = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if directory.is_dir() && !file.is_dir() {
        return Ok(());
    }
    Err(Failure::Usage(format!("cannot write {}: name a file in a directory that exists", file.display())))
}

/// Writes the files, and gives their names.
///
/// # Errors
/// One cannot be written.
pub(super) fn write(file: &Path, recording: &Recording) -> Result<Vec<PathBuf>, Failure> {
    let files = files(file, recording);
    for (path, csv) in &files {
        std::fs::write(path, csv).map_err(|error| {
            Failure::Failed(format!("cannot write {}: {}", path.display(), plain(&error)))
        })?;
    }
    Ok(files.into_iter().map(|(path, _)| path).collect())
}

/// A file for each queue of which something is known.
fn files(file: &Path, recording: &Recording) -> Vec<(PathBuf, String)> {
    let mut files = Vec::new();
    let mut taken = BTreeSet::new();
    for (name, record) in &recording.queues {
        let Ok(flow) = flow(&record.samples, record.mean_consumers()) else { continue };
        let path = if recording.queues.len() == 1 {
            file.to_owned()
        } else {
            let queue = fit(&name.queue);
            let numbered = (1..).map(|number| match number {
                1 => beside(file, &queue),
                number => beside(file, &format!("{queue}-{number}")),
            });
            let mut free = numbered.filter(|path| !taken.contains(path));
            free.next().unwrap_or_else(|| file.to_owned())
        };
        taken.insert(path.clone());
        files.push((path, flow.csv()));
    }
    files
}

/// `rates.csv` becomes `rates-orders.csv`.
fn beside(file: &Path, queue: &str) -> PathBuf {
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    let name = match file.extension() {
        Some(extension) => format!("{stem}-{queue}.{}", extension.to_string_lossy()),
        None => format!("{stem}-{queue}"),
    };
    file.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::observe::recording::tests::name;
    use crate::cli::observe::verdict::tests::recorded;
    use crate::simulation::csv::Trace;

    #[test]
    fn a_file_is_such_as_simulate_reads_and_several_queues_have_one_each() {
        let mut recording = recorded(1);
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("rates.csv");
        assert!(check(&file).is_ok() && check(&directory.path().join("no/rates.csv")).is_err());
        assert_eq!(write(&file, &recording).unwrap(), std::slice::from_ref(&file));
        let trace = Trace::read(&std::fs::read_to_string(&file).unwrap()).unwrap();
        assert_eq!(trace.workload(1, 0.5).messages.len(), 121);

        let record = recording.queues[&name("orders")].clone();
        recording.queues.insert(name("a/b"), record.clone());
        recording.queues.insert(name("a b"), record);
        let files: Vec<String> = files(&file, &recording)
            .into_iter()
            .map(|(path, _)| path.file_name().unwrap().to_string_lossy().into_owned())
            .collect();
        assert_eq!(files, ["rates-a-b.csv", "rates-a-b-2.csv", "rates-orders.csv"]);
    }
}
