//! Circles inside a folder: files, or folders in it, that use each other, directly or indirectly.
//!
//! A file uses what its paths lead to. A re-export is followed to the file that defines the name, and does
//! not count as a use itself; tests may use what they like. A folder's own file joins the others and holds
//! the definitions that they share: it is not part of a circle.

use std::collections::{BTreeMap, BTreeSet};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

use super::tokens::paths;

/// A module's path in its crate: the names of its ancestors and its own. The crate's root has none.
type ModulePath = Vec<String>;

/// What one file says about others.
#[derive(Default)]
struct Module {
    uses: Vec<Use>,
    /// Every path besides those of `uses`.
    paths: Vec<Vec<String>>,
}

/// A name that a `use` item brings into a file.
struct Use {
    path: Vec<String>,
    name: String,
    is_public: bool,
}

/// The circles of each folder of a crate, as `folder: file, file`. `sources` are the files below `directory`.
pub(crate) fn find_circles(directory: &str, sources: Vec<(String, TokenStream)>) -> Vec<String> {
    let read =
        |(file, tokens): (String, TokenStream)| Some((path_of_file(&file, directory)?, read_module(tokens)));
    let modules: BTreeMap<ModulePath, Module> = sources.into_iter().filter_map(read).collect();
    let mut arrows: BTreeMap<ModulePath, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
    for (from, module) in &modules {
        let used = module.uses.iter().filter(|used| !used.is_public).map(|used| &used.path);
        for to in used.chain(&module.paths).filter_map(|path| resolve(&modules, from, path)) {
            let shared = from.iter().zip(&to).take_while(|(one, other)| one == other).count();
            if let (Some(one), Some(other)) = (from.get(shared), to.get(shared)) {
                let folder = arrows.entry(from[..shared].to_vec()).or_default();
                folder.entry(one.clone()).or_default().insert(other.clone());
            }
        }
    }
    let name = |folder: &ModulePath| [&[directory.to_owned()], &folder[..]].concat().join("/");
    let circles = arrows.iter().flat_map(|(folder, arrows)| {
        circles_of(arrows).into_iter().map(move |circle| format!("{}: {}", name(folder), circle.join(", ")))
    });
    circles.collect()
}

/// `a/b.rs` and `a/b/mod.rs` are `a::b`; a program's main file is not a module of the library.
fn path_of_file(file: &str, directory: &str) -> Option<ModulePath> {
    let file = file.strip_prefix(directory)?.trim_start_matches('/').strip_suffix(".rs")?;
    let module: ModulePath =
        file.split('/').filter(|name| !matches!(*name, "mod" | "lib")).map(str::to_owned).collect();
    (file != "main").then_some(module)
}

/// The module of the file that defines what `path` names in the file at `from`; none for another crate's, and for
/// what the file defines itself.
fn resolve(modules: &BTreeMap<ModulePath, Module>, from: &ModulePath, path: &[String]) -> Option<ModulePath> {
    let supers = path.iter().take_while(|segment| *segment == "super").count();
    let (mut module, rest): (ModulePath, &[String]) = match path.first()?.as_str() {
        "crate" => (ModulePath::new(), &path[1..]),
        "self" => (from.clone(), &path[1..]),
        "super" => (from[..from.len().checked_sub(supers)?].to_vec(), &path[supers..]),
        // A single name that matches a module may be a variable's.
        child if path.len() > 1 && modules.contains_key(&child_of(from, child)) => (from.clone(), path),
        _ => return None,
    };
    for (at, segment) in rest.iter().enumerate() {
        let child = child_of(&module, segment);
        if modules.contains_key(&child) {
            module = child;
            continue;
        }
        let exported = modules[&module].uses.iter().find(|used| used.is_public && used.name == *segment);
        let Some(exported) = exported else { break };
        let path = [&exported.path[..], &rest[at + 1..]].concat();
        return resolve(modules, &module, &path).filter(|to| to != from);
    }
    Some(module).filter(|to| to != from)
}

fn child_of(module: &ModulePath, name: &str) -> ModulePath {
    module.iter().cloned().chain([name.to_owned()]).collect()
}

/// Groups of names in which each leads to every other, in order.
fn circles_of(arrows: &BTreeMap<String, BTreeSet<String>>) -> Vec<Vec<String>> {
    let reach = |from: &String| {
        let (mut reached, mut open) = (BTreeSet::new(), vec![from]);
        while let Some(name) = open.pop() {
            open.extend(arrows.get(name).into_iter().flatten().filter(|to| reached.insert((*to).clone())));
        }
        reached
    };
    let reached: BTreeMap<&String, BTreeSet<String>> =
        arrows.keys().map(|name| (name, reach(name))).collect();
    let group = |name: &String| -> Vec<String> {
        let both = |other: &&&String| reached[name].contains(**other) && reached[**other].contains(name);
        reached.keys().filter(both).map(|other| (*other).clone()).collect()
    };
    let groups: BTreeSet<Vec<String>> = arrows.keys().map(group).filter(|group| group.len() > 1).collect();
    groups.into_iter().collect()
}

fn read_module(tokens: TokenStream) -> Module {
    let mut module = Module::default();
    let rest = take_uses(tokens, &mut module.uses);
    module.paths = paths(rest);
    module
}

/// Extracts `use` items, and omits what only tests have and declarations of modules. An inline module is part
/// of the file: what it says about its parent refers to the file.
fn take_uses(tokens: TokenStream, uses: &mut Vec<Use>) -> TokenStream {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let mut rest = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        match &tokens[at] {
            TokenTree::Ident(word) if word == "use" && !is_punct(tokens.get(at + 1), '<') => {
                let is_public =
                    tokens[..at].iter().rev().find(|token| !is_group(token, Delimiter::Parenthesis));
                let is_public = matches!(is_public, Some(TokenTree::Ident(word)) if word == "pub");
                at += 1;
                read_use(&tokens, &mut at, &[], is_public, uses);
            }
            TokenTree::Ident(word) if word == "mod" => match tokens.get(at + 2) {
                Some(TokenTree::Group(body)) => {
                    let mut inner = Vec::new();
                    let body = take_uses(body.stream(), &mut inner);
                    let outer = |path: Vec<String>| (path.first()? == "super").then(|| path[1..].to_vec());
                    let named = inner.into_iter().map(|used| used.path).chain(paths(body));
                    let named = named.filter_map(outer).filter(|path| path.len() > 1);
                    uses.extend(named.map(|path| Use { path, name: String::new(), is_public: false }));
                    at += 3;
                }
                _ => at += 3,
            },
            TokenTree::Group(group) if is_test(&tokens[..at], group) => {
                at += 1;
                while !(is_group(&tokens[at], Delimiter::Brace) || is_punct(tokens.get(at), ';')) {
                    at += 1;
                }
                at += 1;
            }
            TokenTree::Group(group) => {
                let inner = take_uses(group.stream(), uses);
                rest.push(TokenTree::Group(proc_macro2::Group::new(group.delimiter(), inner)));
                at += 1;
            }
            token => {
                rest.push(token.clone());
                at += 1;
            }
        }
    }
    rest.into_iter().collect()
}

/// Reads one tree of a `use` item, starting at `at`.
fn read_use(tokens: &[TokenTree], at: &mut usize, before: &[String], is_public: bool, uses: &mut Vec<Use>) {
    let mut path = before.to_vec();
    while let Some(token) = tokens.get(*at) {
        *at += 1;
        match token {
            TokenTree::Ident(word) if word == "as" => {
                let name = tokens[*at].to_string();
                *at += 1;
                uses.push(Use { path, name, is_public });
                return;
            }
            TokenTree::Ident(word) if word == "self" && !before.is_empty() => {}
            TokenTree::Ident(word) => path.push(word.to_string()),
            TokenTree::Group(group) => {
                let members: Vec<TokenTree> = group.stream().into_iter().collect();
                let mut within = 0;
                while within < members.len() {
                    read_use(&members, &mut within, &path, is_public, uses);
                }
                return;
            }
            TokenTree::Punct(punct) if matches!(punct.as_char(), ';' | ',') => break,
            _ => {}
        }
    }
    if let Some(name) = path.last().cloned() {
        uses.push(Use { path, name, is_public });
    }
}

fn is_group(token: &TokenTree, delimiter: Delimiter) -> bool {
    matches!(token, TokenTree::Group(group) if group.delimiter() == delimiter)
}

fn is_punct(token: Option<&TokenTree>, mark: char) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == mark)
}

/// Whether a group is an attribute that marks test-only code.
fn is_test(before: &[TokenTree], group: &proc_macro2::Group) -> bool {
    is_punct(before.last(), '#') && group.stream().to_string().replace(' ', "") == "cfg(test)"
}

#[test]
fn circles_are_found_through_every_form_of_use() {
    let circles = |sources: &[(&str, &str)]| {
        let read = |(file, text): &(&str, &str)| {
            (format!("src/{file}"), text.parse::<TokenStream>().expect("tokens"))
        };
        find_circles("src", sources.iter().map(read).collect())
    };
    let root = ("lib.rs", "mod a; mod b; pub use b::B; pub use a::{A, helper as help}; pub struct C;");
    for of_a in [
        "use super::b::B;",
        "use super::B;",
        "use crate::{B as Other, C};",
        "fn f() -> crate::b::B { super::B }",
        "use super::b; fn f() { b::g() }",
        "mod inner { use super::super::B; }",
    ] {
        let b = ("b.rs", "pub struct B; fn f() { crate::help() }");
        assert_eq!(circles(&[root, ("a.rs", of_a), b]), ["src: a, b"], "{of_a}");
        assert_eq!(circles(&[root, ("a.rs", of_a), ("b.rs", "pub struct B;")]), [] as [String; 0], "{of_a}");
    }
    let uses_a = ("b.rs", "use crate::a::A;");
    for of_a in
        ["#[cfg(test)] mod tests { use super::super::B; }", "// crate::b", "use super::C;", "use b::B;"]
    {
        assert_eq!(circles(&[root, ("a.rs", of_a), uses_a]), [] as [String; 0], "{of_a}");
    }
    let root = ("lib.rs", "mod a; use a::f; pub struct C;");
    assert_eq!(circles(&[root, ("a/mod.rs", "use crate::C;")]), [] as [String; 0]);
    let deep =
        [("a/mod.rs", "mod b; mod c;"), ("a/b.rs", "use super::c::X;"), ("a/c.rs", "use super::b::Y;")];
    assert_eq!(circles(&deep), ["src/a: b, c"]);
    let three = [("a.rs", "use crate::b::X;"), ("b.rs", "use crate::c::X;"), ("c.rs", "use crate::a::X;")];
    assert_eq!(circles(&[("lib.rs", ""), three[0], three[1], three[2]]), ["src: a, b, c"]);
}
