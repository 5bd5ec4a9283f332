//! Imports of source files, read from their text: which module names which, and which name one another in a circle.

use std::collections::{BTreeMap, BTreeSet};

/// The paths below `crate` that code names, in `use` statements and in place; comments are passed over.
pub(super) fn paths(code: &str) -> Vec<String> {
    let code: String = code.lines().map(without_comment).collect::<Vec<_>>().join("\n");
    let mut found = Vec::new();
    for (start, _) in code.match_indices("crate::") {
        let rest = &code[start + "crate::".len()..];
        let is_use = code[..start].trim_end().ends_with("use");
        let end = if is_use { rest.find(';') } else { rest.find(|c: char| !is_path(c)) };
        expand("", &rest[..end.unwrap_or(rest.len())], &mut found);
    }
    found
}

fn without_comment(line: &str) -> &str {
    line.split("//").next().unwrap_or_default()
}

fn is_path(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == ':'
}

/// The paths of a `use` tree: `a::{b, c::{self, d}}` is `a::b`, `a::c` and `a::c::d`.
fn expand(before: &str, tree: &str, found: &mut Vec<String>) {
    let tree = tree.trim();
    let Some(open) = tree.find('{') else {
        let path = tree.split(" as ").next().unwrap_or_default().trim();
        let path = format!("{before}{path}");
        found.push(path.trim_end_matches("::self").trim_end_matches("::").to_owned());
        return;
    };
    let before = format!("{before}{}", tree[..open].trim());
    let inside = &tree[open + 1..tree.rfind('}').unwrap_or(tree.len())];
    let (mut depth, mut start) = (0, 0);
    for (at, c) in inside.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                expand(&before, &inside[start..at], found);
                start = at + 1;
            }
            _ => {}
        }
    }
    if !inside[start..].trim().is_empty() {
        expand(&before, &inside[start..], found);
    }
}

/// Modules of one room that import one another in a circle, each circle by the names of its modules.
pub(super) fn circles(modules: &BTreeMap<String, String>) -> Vec<Vec<String>> {
    let room = |module: &str| module.split("::").next().unwrap_or_default().to_owned();
    let target = |path: &str| {
        let ends = path.match_indices("::").map(|(end, _)| end).chain([path.len()]);
        ends.map(|end| &path[..end])
            .filter(|it| modules.contains_key(*it))
            .last()
            .map(str::to_owned)
    };
    let mut reaches: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for (module, code) in modules {
        let code = code.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
        let used = paths(code).into_iter().filter_map(|it| target(&it));
        let used = used.filter(|it| it != module && room(it) == room(module));
        reaches.insert(module, used.collect());
    }
    // What each module reaches over others, until nothing is added.
    loop {
        let mut more: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
        for (module, near) in &reaches {
            let far = near.iter().flat_map(|it| &reaches[it.as_str()]).cloned();
            more.insert(module, near.iter().cloned().chain(far).collect());
        }
        if more == reaches {
            break;
        }
        reaches = more;
    }
    let mut found = BTreeSet::new();
    for (module, reached) in &reaches {
        let back = |it: &&String| reaches[it.as_str()].contains(*module);
        let circle: Vec<String> = reached.iter().filter(back).cloned().collect();
        if !circle.is_empty() {
            found.insert(circle);
        }
    }
    found.into_iter().collect()
}
