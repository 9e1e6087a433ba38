//! What a name means in a snapshot. Pure.

use super::failure::Failure;
use crate::controller::snapshot::{ProcessView, ProgramView, Snapshot};
use crate::core::ids::Target;

/// The programs that `target` concerns, in the order of the configuration; for a process its program.
///
/// # Errors
/// There is no such program or project; the nearest name is told.
pub(crate) fn programs<'a>(snapshot: &'a Snapshot, target: &Target) -> Result<Vec<&'a ProgramView>, Failure> {
    let concerned: Vec<_> = snapshot.programs.iter().filter(|program| concerns(target, program)).collect();
    if concerned.is_empty() && *target != Target::All {
        return Err(no_such_name(snapshot, target));
    }
    Ok(concerned)
}

/// The processes that `target` concerns, with their programs.
///
/// # Errors
/// There is no such program, project or process.
pub(crate) fn processes<'a>(
    snapshot: &'a Snapshot,
    target: &Target,
) -> Result<Vec<(&'a ProgramView, &'a ProcessView)>, Failure> {
    let concerned: Vec<_> = programs(snapshot, target)?
        .into_iter()
        .flat_map(|program| program.processes.iter().map(move |process| (program, process)))
        .filter(|(_, process)| matches_slot(target, process))
        .collect();
    if concerned.is_empty() && matches!(target, Target::Process(_)) {
        return Err(Failure::NoSuchName(format!(
            "there is no process {target}; `leveret status` lists those that there are"
        )));
    }
    Ok(concerned)
}

/// Whether `process`, one of a program that `target` concerns, is meant.
pub(crate) fn matches_slot(target: &Target, process: &ProcessView) -> bool {
    match target {
        Target::Process(id) => id.slot == process.slot,
        Target::All | Target::Project(_) | Target::Program(_) => true,
    }
}

/// Whether `target` concerns `program` or one of its processes.
pub(crate) fn concerns(target: &Target, program: &ProgramView) -> bool {
    match target {
        Target::All => true,
        Target::Project(project) => program.project.as_deref() == Some(project),
        Target::Program(name) => program.name == name.as_str(),
        Target::Process(id) => program.name == id.program.as_str(),
    }
}

fn no_such_name(snapshot: &Snapshot, target: &Target) -> Failure {
    let (what, wanted) = match target {
        Target::Project(_) => ("project", target.to_string()),
        Target::Process(id) => ("program", id.program.to_string()),
        Target::All | Target::Program(_) => ("program", target.to_string()),
    };
    let projects = snapshot.programs.iter().filter_map(|program| program.project.as_ref());
    let names = snapshot.programs.iter().map(|program| program.name.clone());
    let near = names
        .chain(projects.map(|project| format!("@{project}")))
        .map(|name| (strsim::damerau_levenshtein(&wanted, &name), name))
        .min()
        .filter(|(distance, name)| *distance <= 1 + name.len() / 4);
    Failure::NoSuchName(match near {
        Some((_, name)) => format!("there is no {what} {wanted}; did you mean {name}?"),
        None => format!("there is no {what} {wanted}; `leveret status` lists those that there are"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::fixture;

    fn ids(name: &str) -> Vec<String> {
        let snapshot = fixture::snapshot();
        let target = name.parse().unwrap();
        processes(&snapshot, &target).unwrap().into_iter().map(|(_, process)| process.id.clone()).collect()
    }

    #[test]
    fn a_name_means_a_program_a_process_a_project_or_all() {
        assert_eq!(ids("orders"), ["orders:0", "orders:1"]);
        assert_eq!(ids("orders:1"), ["orders:1"]);
        assert_eq!(ids("web"), ["web"]);
        assert_eq!(ids("web:0"), ["web"]);
        assert_eq!(ids("@shop"), ["orders:0", "orders:1", "mailer"]);
        assert_eq!(ids("all"), ["orders:0", "orders:1", "mailer", "web"]);
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_nearest() {
        let error = |name: &str| {
            processes(&fixture::snapshot(), &name.parse().unwrap()).expect_err("unknown").to_string()
        };
        assert_eq!(error("oders"), "there is no program oders; did you mean orders?");
        assert_eq!(error("shop"), "there is no program shop; did you mean @shop?");
        assert_eq!(error("@shp"), "there is no project @shp; did you mean @shop?");
        assert_eq!(error("zebra"), "there is no program zebra; `leveret status` lists those that there are");
        assert!(error("orders:9").starts_with("there is no process orders:9"));
        assert!(error("oders:1").ends_with("did you mean orders?"));
    }

    #[test]
    fn all_of_nothing_is_nothing() {
        assert!(programs(&Snapshot::default(), &Target::All).unwrap().is_empty());
    }
}
