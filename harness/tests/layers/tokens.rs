//! Sources as tokens, and the paths that they name.

use std::path::{Path, PathBuf};

use proc_macro2::{TokenStream, TokenTree};

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_path_buf()
}

/// Every Rust file below `directory`, by its path from the workspace.
pub(crate) fn rust_files(directory: &str) -> Vec<(String, TokenStream)> {
    let mut found = Vec::new();
    let mut open = vec![root().join(directory)];
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(&directory).expect("a directory of sources") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).expect("a source");
                let tokens = text.parse().unwrap_or_else(|error| panic!("{}: {error}", path.display()));
                let name = path.strip_prefix(root()).expect("within the workspace");
                found.push((name.to_str().expect("UTF-8").to_owned(), tokens));
            }
        }
    }
    assert!(!found.is_empty(), "{directory} holds sources");
    found.sort_by(|one, other| one.0.cmp(&other.0));
    found
}

/// A path's segments, one list for each path that the tokens name; a group `a::{b, c}` is two.
pub(crate) fn paths(tokens: TokenStream) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let mut at = 0;
    while at < tokens.len() {
        at = match &tokens[at] {
            TokenTree::Ident(_) => read_path(&tokens, at, &[], &mut found),
            TokenTree::Group(group) => {
                found.extend(paths(group.stream()));
                at + 1
            }
            _ => at + 1,
        };
    }
    found
}

/// Reads one path, starting at `at`, after `prefix`; returns the position after it.
fn read_path(tokens: &[TokenTree], mut at: usize, prefix: &[String], found: &mut Vec<Vec<String>>) -> usize {
    let mut path = prefix.to_vec();
    loop {
        match tokens.get(at) {
            Some(TokenTree::Ident(name)) => path.push(name.to_string()),
            Some(TokenTree::Group(group)) if !path.is_empty() => {
                // A group of a use tree: each of its members continues from here.
                let members: Vec<TokenTree> = group.stream().into_iter().collect();
                let mut begin = 0;
                while begin < members.len() {
                    begin = match &members[begin] {
                        TokenTree::Ident(_) => read_path(&members, begin, &path, found),
                        _ => begin + 1,
                    };
                }
                return at + 1;
            }
            _ => break,
        }
        at += 1;
        let colons = tokens[at.min(tokens.len())..].iter().take(2);
        let is_colon = |token: &TokenTree| matches!(token, TokenTree::Punct(punct) if punct.as_char() == ':');
        if colons.filter(|token| is_colon(token)).count() < 2 {
            break;
        }
        at += 2;
    }
    found.push(path);
    at
}

/// How often a word occurs in the tokens.
pub(crate) fn count_word(tokens: TokenStream, word: &str) -> usize {
    tokens
        .into_iter()
        .map(|token| match token {
            TokenTree::Ident(ident) => usize::from(ident == word),
            TokenTree::Group(group) => count_word(group.stream(), word),
            _ => 0,
        })
        .sum()
}
