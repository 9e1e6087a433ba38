//! Budgets: of what there is only so much for all programs together, and whether what programs are sure to have fits.

use std::collections::BTreeMap;

use super::document::Document;
use super::problem::Problem;
use super::raw;
use super::suggestion::nearest;
use crate::core::budget::{Budget, Resource};
use crate::core::spec::ProgramSpec;
use crate::core::words::counted;
use crate::sys::memory;

/// What of the machine's memory programs may use where the file does not say how much.
const MEMORY_SHARE: f64 = 0.8;

/// How many programs an error names.
const NAMED_MOST: usize = 3;

/// The budgets of the file: processes and memory first, then those with names. `programs` are those of all files.
pub(super) fn budgets(
    own: Option<&raw::Budget>,
    named: Option<&BTreeMap<String, u32>>,
    programs: &[ProgramSpec],
    document: &Document,
    problems: &mut Vec<Problem>,
) -> Vec<Budget> {
    let mut budgets = Vec::new();
    if let Some(own) = own {
        let processes = own.processes.map(|limit| (Resource::Processes, u64::from(limit)));
        let memory = own.memory.or_else(|| Some((memory::total()? as f64 * MEMORY_SHARE) as u64));
        let memory = memory.map(|limit| (Resource::Memory, limit));
        budgets.extend(processes.into_iter().chain(memory));
        if own.memory == Some(0) {
            let problem =
                document.problem(&["budget", "memory"], "nothing can start without memory".to_owned());
            problems.push(problem.suggest("leave it out for 80 % of what there is"));
        }
    }
    for (name, limit) in named.into_iter().flatten() {
        if [Resource::Processes, Resource::Memory].iter().any(|own| own.as_str() == name) {
            let message = format!("`{name}` has a budget of its own");
            let problem = document.problem(&["budgets", name], message);
            problems.push(problem.suggest(format!("write `budget: {{{name}: ...}}`")));
        }
        budgets.push((Resource::Named(name.clone()), u64::from(*limit)));
    }
    let budgets: Vec<Budget> = budgets.into_iter().map(|(of, limit)| Budget { of, limit }).collect();
    for budget in &budgets {
        if let Some(message) = shortage(budget, programs) {
            let path = match &budget.of {
                Resource::Named(name) => ["budgets", name],
                own @ (Resource::Processes | Resource::Memory) => ["budget", own.as_str()],
            };
            let problem = document.problem(&path, message);
            problems.push(problem.suggest("raise it, or lower `min` or `processes` of programs"));
        }
    }
    budgets
}

/// What is wrong where programs are sure to have more than there is.
fn shortage(budget: &Budget, programs: &[ProgramSpec]) -> Option<String> {
    let of = |spec: &ProgramSpec| budget.named_use_of(spec).saturating_mul(u64::from(spec.least()));
    let mut sure: Vec<(u64, &ProgramSpec)> = programs.iter().map(|spec| (of(spec), spec)).collect();
    let total: u64 = sure.iter().map(|(uses, _)| uses).sum();
    if total <= budget.limit {
        return None;
    }
    sure.retain(|(uses, _)| *uses > 0);
    sure.sort_by_key(|(uses, _)| std::cmp::Reverse(*uses));
    let named: Vec<String> =
        sure.iter().take(NAMED_MOST).map(|(uses, spec)| format!("{} {uses}", spec.name)).collect();
    let more = if sure.len() > NAMED_MOST { ", ..." } else { "" };
    let what = match &budget.of {
        Resource::Processes => counted(total, "process", "processes"),
        other @ (Resource::Memory | Resource::Named(_)) => format!("{total} {}", other.as_str()),
    };
    Some(format!(
        "the programs need at least {what} ({}{more}), more than {}",
        named.join(", "),
        budget.limit
    ))
}

/// Looks at what the programs of one file say that they use.
pub(super) fn check(
    document: &Document,
    entries: &[(String, raw::Program)],
    budgets: &[Budget],
    problems: &mut Vec<Problem>,
) {
    for (program, raw) in entries {
        for (name, uses) in raw.uses.iter().flatten() {
            let mut wrong = |message: String, hint: String| {
                let problem = document.problem(&["programs", program, "uses", name], message);
                problems.push(problem.suggest(hint));
            };
            let names = || budgets.iter().filter_map(|budget| budget.of.own_name());
            match budgets.iter().find(|budget| budget.of.own_name() == Some(name)) {
                None => {
                    let hint = match nearest(name, names()) {
                        Some(near) => format!("did you mean `{near}`?"),
                        None => format!("add `budgets: {{{name}: 100}}` to the main file"),
                    };
                    wrong(format!("there is no budget `{name}`"), hint);
                }
                Some(budget) if u64::from(*uses) > budget.limit => {
                    let message =
                        format!("one process uses {uses}, more than the whole budget of {}", budget.limit);
                    wrong(message, "it could never start: raise the budget".to_owned());
                }
                Some(_) => {}
            }
        }
    }
}
