//! Whether the programs that others need are there, can come as far as they must, and do not need each other in a circle.

use std::collections::BTreeMap;

use super::document::Document;
use super::problem::Problem;
use super::raw;
use super::suggestion::nearest;
use crate::core::spec::{Kind, OnCode, ProgramSpec, RestartPolicy, Until};

/// Looks at what the programs of one file need. `programs` are those of all files.
pub(super) fn check(
    document: &Document,
    entries: &[(String, raw::Program)],
    programs: &BTreeMap<&str, &ProgramSpec>,
    problems: &mut Vec<Problem>,
) {
    for (name, raw) in entries {
        let mut wrong = |message: String, suggestion: String| {
            let problem = document.problem(&["programs", name, "depends_on"], message);
            problems.push(problem.suggest(suggestion));
        };
        for needed in raw.depends_on.iter().flatten() {
            let Some(needed_name) = needed.program.as_deref() else { continue };
            let until = needed.until.unwrap_or_default();
            match programs.get(needed_name) {
                None => {
                    let hint = match nearest(needed_name, programs.keys().copied()) {
                        Some(near) => format!("did you mean `{near}`?"),
                        None => "write the name of a program under `programs`".to_owned(),
                    };
                    wrong(format!("there is no program `{needed_name}`"), hint);
                }
                Some(spec) if until == Until::Completed && !can_complete(spec) => {
                    let message =
                        format!("`{needed_name}` is started again after every end, so it is never completed");
                    wrong(
                        message,
                        format!("give `{needed_name}` restart: on-failure, or wait until it is `ready`"),
                    );
                }
                Some(_) => {}
            }
        }
        if let Some(circle) = circle(name, programs) {
            let message = format!("programs need each other in a circle: {circle}");
            wrong(message, "leave one of them out".to_owned());
        }
    }
}

fn can_complete(spec: &ProgramSpec) -> bool {
    let rests = match spec.codes.get(&0) {
        Some(OnCode::StayDown) => true,
        Some(OnCode::Recycle | OnCode::Backoff) => false,
        None => spec.restart != RestartPolicy::Always,
    };
    rests && matches!(spec.kind, Kind::Service { .. })
}

/// The way from a program through what it needs back to itself, told once: by the program whose name comes first.
fn circle(start: &str, programs: &BTreeMap<&str, &ProgramSpec>) -> Option<String> {
    let mut ways = vec![vec![start]];
    let mut seen: Vec<&str> = Vec::new();
    while let Some(way) = ways.pop() {
        let last = *way.last()?;
        for needed in programs.get(last).iter().flat_map(|spec| &spec.depends_on) {
            let needed = needed.program.as_str();
            if needed == start {
                let is_first = way.iter().all(|name| *name >= start);
                return is_first.then(|| [&way[..], &[start]].concat().join(" -> "));
            }
            if !seen.contains(&needed) {
                seen.push(needed);
                ways.push([&way[..], &[needed]].concat());
            }
        }
    }
    None
}
