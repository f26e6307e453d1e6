//! Which source file of a crate knows which, by the paths in it.
//!
//! An arrow runs from a file that names an item to the file that defines it. A path that leads through a `use` of another
//! module is followed to the definition, so that a `mod.rs` that only hands names on is nobody's target. The paths are
//! those of `use` declarations and those inline, in the arguments of macros too. Method calls name no path and make no
//! arrow. Tests are left out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens;
use syn::parse::{ParseStream, Parser};
use syn::visit_mut::{self, VisitMut};
use syn::{Attribute, Item, Meta, UseTree, Visibility};

/// The arrows of a crate.
#[derive(Debug, Default)]
pub(super) struct Arrows {
    /// From which file to which, and the items that make the arrow.
    items: BTreeMap<(PathBuf, PathBuf), BTreeSet<String>>,
}

impl Arrows {
    /// Follows every path in a crate from `lib.rs` on. `read` gives the text of a file, `None` if it does not exist.
    pub(super) fn of(read: impl Fn(&Path) -> Option<String>) -> Result<Arrows> {
        let mut tree = Tree { read, modules: Vec::new() };
        tree.file(Path::new("lib.rs"), Path::new(""), None)?;
        let mut arrows = Arrows::default();
        for (id, module) in tree.modules.iter().enumerate() {
            for target in tree.targets(id, module) {
                let (Target::Item(to, name), from) = (target, &module.file) else { continue };
                if to != *from {
                    arrows.items.entry((from.clone(), to)).or_default().insert(name);
                }
            }
        }
        Ok(arrows)
    }

    /// The files that know each other, in groups of more than `allowed`.
    pub(super) fn circles(&self, allowed: usize) -> Vec<Circle<'_>> {
        let files: BTreeSet<&Path> = self.items.keys().flat_map(|(from, to)| [from.as_path(), to]).collect();
        let reached: BTreeMap<&Path, BTreeSet<&Path>> = files.iter().map(|file| (*file, self.reached(file))).collect();
        let knows = |from: &Path, to: &Path| reached.get(from).is_some_and(|files| files.contains(to));
        let mut circles = Vec::new();
        let mut left = files.clone();
        while let Some(file) = left.pop_first() {
            let group: BTreeSet<&Path> =
                files.iter().copied().filter(|to| knows(file, to) && knows(to, file)).collect();
            left.retain(|file| !group.contains(file));
            if group.len() > allowed {
                circles.push(Circle { arrows: self, files: group });
            }
        }
        circles
    }

    /// The file that most others know, by themselves or through others.
    #[cfg(test)]
    pub(super) fn most_known(&self) -> Option<&Path> {
        let files: BTreeSet<&Path> = self.items.keys().flat_map(|(from, to)| [from.as_path(), to]).collect();
        let reached: Vec<BTreeSet<&Path>> = files.iter().map(|file| self.reached(file)).collect();
        files.iter().copied().max_by_key(|file| reached.iter().filter(|known| known.contains(file)).count())
    }

    /// The files that a file knows, whether itself or through others.
    fn reached<'a>(&'a self, file: &'a Path) -> BTreeSet<&'a Path> {
        let mut reached = BTreeSet::new();
        let mut next = vec![file];
        while let Some(file) = next.pop() {
            let known = self.items.keys().filter(|(from, _)| from == file).map(|(_, to)| to.as_path());
            next.extend(known.filter(|to| reached.insert(*to)));
        }
        reached
    }
}

/// The files of a crate that are compiled where neither `test` nor `loom` is set.
pub(crate) fn files(read: impl Fn(&Path) -> Option<String>) -> Result<BTreeSet<PathBuf>> {
    let mut tree = Tree { read, modules: Vec::new() };
    tree.file(Path::new("lib.rs"), Path::new(""), None)?;
    Ok(tree.modules.into_iter().map(|module| module.file).collect())
}

/// Files that know each other.
#[derive(Debug)]
pub(super) struct Circle<'a> {
    arrows: &'a Arrows,
    files: BTreeSet<&'a Path>,
}

impl std::fmt::Display for Circle<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} files know each other", self.files.len())?;
        for ((from, to), items) in &self.arrows.items {
            if self.files.contains(from.as_path()) && self.files.contains(to.as_path()) {
                let items: Vec<&str> = items.iter().map(String::as_str).collect();
                write!(f, "\n  {} -> {}: {}", from.display(), to.display(), items.join(", "))?;
            }
        }
        Ok(())
    }
}

/// The modules of a crate.
struct Tree<R> {
    read: R,
    modules: Vec<Module>,
}

#[derive(Default)]
struct Module {
    file: PathBuf,
    parent: Option<usize>,
    names: BTreeMap<String, Vec<Binding>>,
    /// Words in macros that stand where items do: such a macro may define an item of that name.
    perhaps: BTreeSet<String>,
    imports: Vec<Import>,
    paths: BTreeSet<Vec<String>>,
    words: BTreeSet<String>,
}

/// What a name stands for in a module.
enum Binding {
    Item,
    Module(usize),
    Import(Vec<String>),
}

struct Import {
    path: Vec<String>,
    /// `None` for a glob.
    name: Option<String>,
    hands_on: bool,
}

enum Target {
    Item(PathBuf, String),
    Module(usize),
    OtherCrate,
}

impl<R: Fn(&Path) -> Option<String>> Tree<R> {
    /// Reads a file as a module, whose children stand in `folder`.
    fn file(&mut self, file: &Path, folder: &Path, parent: Option<usize>) -> Result<usize> {
        let text = (self.read)(file).with_context(|| format!("{} does not exist", file.display()))?;
        let mut syntax = syn::parse_file(&text).with_context(|| format!("parsing {}", file.display()))?;
        WithoutTests.visit_file_mut(&mut syntax);
        self.module(file, folder, parent, syntax.items)
    }

    fn module(&mut self, file: &Path, folder: &Path, parent: Option<usize>, items: Vec<Item>) -> Result<usize> {
        let id = self.modules.len();
        self.modules.push(Module { file: file.to_path_buf(), parent, ..Module::default() });
        let mut module = Module { file: file.to_path_buf(), parent, ..Module::default() };
        for mut item in items {
            if let Item::Mod(child) = item {
                let name = child.ident.to_string();
                let below = folder.join(&name);
                let child = match child.content {
                    Some((_, items)) => self.module(file, &below, Some(id), items)?,
                    None => {
                        let beside = folder.join(format!("{name}.rs"));
                        let is_beside = (self.read)(&beside).is_some();
                        self.file(&if is_beside { beside } else { below.join("mod.rs") }, &below, Some(id))?
                    }
                };
                module.names.entry(name).or_default().push(Binding::Module(child));
                continue;
            }
            if let Item::Macro(made) = &item {
                words(made.mac.tokens.clone(), &mut module.perhaps);
            }
            if let Some(name) = name_of(&item) {
                module.names.entry(name).or_default().push(Binding::Item);
            }
            let mut imports = Imports(Vec::new());
            imports.visit_item_mut(&mut item);
            module.imports.append(&mut imports.0);
            if !matches!(item, Item::Use(_)) {
                paths(item.to_token_stream(), &mut module.paths);
                words(item.to_token_stream(), &mut module.words);
            }
        }
        for Import { path, name, .. } in &module.imports {
            if let Some(name) = name {
                module.names.entry(name.clone()).or_default().push(Binding::Import(path.clone()));
            }
        }
        if let Some(slot) = self.modules.get_mut(id) {
            *slot = module;
        }
        Ok(id)
    }

    /// What the paths of a module lead to.
    fn targets(&self, id: usize, module: &Module) -> Vec<Target> {
        let mut targets: Vec<Target> = module.paths.iter().filter_map(|path| self.resolve(id, path, DEPTH)).collect();
        for Import { path, name, hands_on } in &module.imports {
            let Some(target) = self.resolve(id, path, DEPTH) else { continue };
            match (target, name) {
                (Target::Module(from), None) => {
                    let used = module.words.iter().filter(|word| !module.names.contains_key(*word));
                    targets.extend(used.filter_map(|word| self.look_up(from, word, true, DEPTH)));
                }
                // A name that a module hands on makes an arrow only if the module itself uses it.
                (target, Some(name)) if !hands_on || module.words.contains(name) => targets.push(target),
                _ => {}
            }
        }
        targets
    }

    /// What a path in a module leads to; `None` if its first name is not of this crate.
    fn resolve(&self, from: usize, path: &[String], depth: usize) -> Option<Target> {
        let depth = depth.checked_sub(1)?;
        let parent = |module: usize| self.modules.get(module)?.parent;
        let (first, rest) = path.split_first()?;
        let mut at = match first.as_str() {
            "crate" => Target::Module(0),
            "self" => Target::Module(from),
            "super" => Target::Module(parent(from)?),
            name => self.look_up(from, name, rest.is_empty(), depth)?,
        };
        for (n, name) in rest.iter().enumerate() {
            let Target::Module(module) = at else { return Some(at) };
            at = match name.as_str() {
                "super" => Target::Module(parent(module)?),
                name => match self.look_up(module, name, n + 1 == rest.len(), depth) {
                    Some(target) => target,
                    None => Target::Item(self.modules.get(module)?.file.clone(), name.to_owned()),
                },
            };
        }
        Some(at)
    }

    /// What a name means in a module. At the end of a path an item goes before a module of the same name.
    fn look_up(&self, module: usize, name: &str, is_last: bool, depth: usize) -> Option<Target> {
        let depth = depth.checked_sub(1)?;
        let here = self.modules.get(module)?;
        let item = || Target::Item(here.file.clone(), name.to_owned());
        if let Some(bindings) = here.names.get(name) {
            let found = bindings.iter().map(|binding| match binding {
                Binding::Item => item(),
                Binding::Module(id) => Target::Module(*id),
                Binding::Import(path) => self.resolve(module, path, depth).unwrap_or(Target::OtherCrate),
            });
            let rank = |target: &Target| match target {
                Target::Item(..) => usize::from(!is_last),
                Target::Module(_) => usize::from(is_last),
                Target::OtherCrate => 2,
            };
            return found.min_by_key(rank);
        }
        if here.perhaps.contains(name) {
            return Some(item());
        }
        let globs = here.imports.iter().filter(|import| import.name.is_none());
        globs
            .filter_map(|import| match self.resolve(module, &import.path, depth)? {
                Target::Module(from) => self.look_up(from, name, is_last, depth),
                _ => None,
            })
            .next()
    }
}

/// Imports of imports that are followed: a bound for circles of names.
const DEPTH: usize = 24;

/// The name that an item defines, if it has one.
fn name_of(item: &Item) -> Option<String> {
    Some(match item {
        Item::Const(item) => item.ident.to_string(),
        Item::Enum(item) => item.ident.to_string(),
        Item::Fn(item) => item.sig.ident.to_string(),
        Item::Macro(item) => item.ident.as_ref()?.to_string(),
        Item::Static(item) => item.ident.to_string(),
        Item::Struct(item) => item.ident.to_string(),
        Item::Trait(item) => item.ident.to_string(),
        Item::Type(item) => item.ident.to_string(),
        Item::Union(item) => item.ident.to_string(),
        _ => return None,
    })
}

/// Collects `use` declarations, those within functions too, and leaves empty ones behind.
struct Imports(Vec<Import>);

impl VisitMut for Imports {
    fn visit_item_use_mut(&mut self, item: &mut syn::ItemUse) {
        let empty = UseTree::Group(syn::UseGroup { brace_token: Default::default(), items: Default::default() });
        let tree = std::mem::replace(&mut item.tree, empty);
        self.tree(&mut Vec::new(), &tree, !matches!(item.vis, Visibility::Inherited));
    }
}

impl Imports {
    fn tree(&mut self, before: &mut Vec<String>, tree: &UseTree, hands_on: bool) {
        let mut leaf = |last: Option<String>, name: Option<String>| {
            let path = before.iter().cloned().chain(last.filter(|last| last != "self")).collect();
            self.0.push(Import { path, name, hands_on });
        };
        match tree {
            UseTree::Path(path) => {
                before.push(path.ident.to_string());
                self.tree(before, &path.tree, hands_on);
                before.pop();
            }
            UseTree::Name(name) if name.ident == "self" => leaf(None, before.last().cloned()),
            UseTree::Name(name) => leaf(Some(name.ident.to_string()), Some(name.ident.to_string())),
            UseTree::Rename(name) => leaf(Some(name.ident.to_string()), Some(name.rename.to_string())),
            UseTree::Glob(_) => leaf(None, None),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.tree(before, tree, hands_on)),
        }
    }
}

/// Adds the paths of at least two names.
fn paths(tokens: TokenStream, found: &mut BTreeSet<Vec<String>>) {
    let mut path: Vec<String> = Vec::new();
    // How many of the two colons stand behind the last name.
    let mut colons = 0;
    let mut end = |path: &mut Vec<String>| {
        if path.len() > 1 {
            found.insert(path.clone());
        }
        path.clear();
    };
    let mut groups = Vec::new();
    for token in tokens {
        match token {
            TokenTree::Ident(ident) => {
                if colons != 2 {
                    end(&mut path);
                }
                path.push(ident.to_string());
                colons = 0;
            }
            TokenTree::Punct(punct) if punct.as_char() == ':' && !path.is_empty() && colons < 2 => colons += 1,
            TokenTree::Group(group) => {
                end(&mut path);
                groups.push(group.stream());
            }
            _ => end(&mut path),
        }
    }
    end(&mut path);
    groups.into_iter().for_each(|group| paths(group, found));
}

/// Adds every name.
fn words(tokens: TokenStream, found: &mut BTreeSet<String>) {
    for token in tokens {
        match token {
            TokenTree::Ident(ident) => drop(found.insert(ident.to_string())),
            TokenTree::Group(group) => words(group.stream(), found),
            _ => {}
        }
    }
}

/// Takes out what only tests compile.
struct WithoutTests;

impl VisitMut for WithoutTests {
    fn visit_file_mut(&mut self, file: &mut syn::File) {
        file.items.retain(is_compiled);
        visit_mut::visit_file_mut(self, file);
    }

    fn visit_item_mod_mut(&mut self, module: &mut syn::ItemMod) {
        if let Some((_, items)) = &mut module.content {
            items.retain(is_compiled);
        }
        visit_mut::visit_item_mod_mut(self, module);
    }

    fn visit_item_impl_mut(&mut self, block: &mut syn::ItemImpl) {
        block.items.retain(is_compiled);
        visit_mut::visit_item_impl_mut(self, block);
    }

    fn visit_block_mut(&mut self, block: &mut syn::Block) {
        block.stmts.retain(is_compiled);
        visit_mut::visit_block_mut(self, block);
    }
}

/// Whether something is compiled, by the attributes that stand before it.
fn is_compiled(syntax: &impl ToTokens) -> bool {
    let attributes = |input: ParseStream<'_>| {
        let attributes = Attribute::parse_outer(input);
        // What follows them does not matter here.
        input.parse::<TokenStream>().and(attributes)
    };
    attributes.parse2(syntax.to_token_stream()).is_ok_and(|attributes| holds(&attributes))
}

/// Whether every `cfg` of these holds where neither `test` nor `loom` is set.
pub(crate) fn holds(attributes: &[Attribute]) -> bool {
    fn predicate(meta: &Meta) -> bool {
        let Meta::List(list) = meta else {
            return !meta.path().is_ident("test") && !meta.path().is_ident("loom");
        };
        let parse = syn::punctuated::Punctuated::<Meta, syn::Token![,]>::parse_terminated;
        let Ok(parts) = list.parse_args_with(parse) else { return true };
        match list.path.get_ident().map(ToString::to_string).as_deref() {
            Some("any") => parts.iter().any(predicate),
            Some("not") => !parts.iter().all(predicate),
            _ => parts.iter().all(predicate),
        }
    }
    attributes.iter().filter(|attribute| attribute.path().is_ident("cfg")).all(|attribute| predicate(&attribute.meta))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The groups of files that know each other in a crate of these files.
    fn circles(files: &[(&str, &str)]) -> Vec<String> {
        let read =
            |path: &Path| files.iter().find(|(name, _)| Path::new(name) == path).map(|(_, text)| text.to_string());
        let arrows = Arrows::of(read).unwrap();
        arrows.circles(1).iter().map(ToString::to_string).collect()
    }

    const LIB: (&str, &str) = ("lib.rs", "mod a; mod b;");
    /// `a.rs` knows `b.rs`.
    const A: (&str, &str) = ("a.rs", "use crate::b::B; pub struct A(B);");

    #[test]
    fn files_that_know_each_other_are_told_with_the_items() {
        assert_eq!(circles(&[LIB, A, ("b.rs", "pub struct B;")]), [""; 0]);
        let found = circles(&[LIB, A, ("b.rs", "pub struct B; fn f(_: super::a::A) {}")]);
        assert_eq!(found, ["2 files know each other\n  a.rs -> b.rs: B\n  b.rs -> a.rs: A"]);
    }

    #[test]
    fn every_way_to_name_an_item_makes_an_arrow() {
        for way in [
            "use crate::a::A;",
            "use crate::a::{A as Other};",
            "use crate::{a::A};",
            "use crate::a::*; fn f(_: A) {}",
            "use crate::a; fn f(_: a::A) {}",
            "use crate::a::{self}; fn f() { a::A; }",
            "fn f() { use super::a::A; }",
            "fn f() { assert!(crate::a::A == 1); }",
            "type X = Vec<Option<crate::a::A>>;",
            "use super::A;",
            "mod inner { use super::super::a::A; }",
            "mod inner { fn f(_: crate::a::A) {} }",
            "macro_rules! m { () => { $crate::a::A } }",
            "use crate::a::of_a_macro;",
            "use crate::Handed;",
        ] {
            let lib = "mod a; mod b; pub use a::A; pub use a::A as Handed;";
            let a = "use crate::b::B; pub struct A(B); make! { fn of_a_macro }";
            let found = circles(&[("lib.rs", lib), ("a.rs", a), ("b.rs", &format!("pub struct B; {way}"))]);
            assert_eq!(found.len(), 1, "{way}");
        }
    }

    #[test]
    fn tests_other_crates_and_imports_without_use_make_no_arrow() {
        for way in [
            "#[cfg(test)] mod tests { use crate::a::A; }",
            "#[cfg(all(test, not(loom)))] mod tests { use crate::a::A; }",
            "#[cfg(test)] use crate::a::A;",
            "fn f() { #[cfg(loom)] { crate::a::A; } }",
            "struct X; impl X { #[cfg(test)] fn f(_: crate::a::A) {} }",
            "use a::A; mod inner {}",
            "use crate::a;",
            "/// [`A`](crate::a::A)\nstruct X;",
            "use crate::outside::A;",
            "pub(in crate::b) struct X;",
            "use crate::a::*; struct A; fn f(_: A) {}",
        ] {
            let lib = "mod a; mod b; use other as outside;";
            let found = circles(&[("lib.rs", lib), A, ("b.rs", &format!("pub struct B; {way}"))]);
            assert_eq!(found, [""; 0], "{way}");
        }
    }

    #[test]
    fn a_module_that_hands_a_name_on_is_passed_through_and_one_that_uses_it_is_not() {
        let lib = ("lib.rs", "mod a;");
        let child = ("a/child.rs", "use super::Own; pub struct Child(Own);");
        let handing = "mod child; pub struct Own; pub use child::Child;";
        assert_eq!(circles(&[lib, ("a/mod.rs", handing), child]), [""; 0]);
        let using = format!("{handing} fn f(_: Child) {{}}");
        assert_eq!(circles(&[lib, ("a/mod.rs", &using), child]).len(), 1);
        let by_path = format!("{handing} fn f(_: child::Child) {{}}");
        assert_eq!(circles(&[lib, ("a/mod.rs", &by_path), child]).len(), 1);
    }

    #[test]
    fn a_circle_of_as_many_files_as_are_allowed_is_none() {
        let read = |path: &Path| match path.to_str()? {
            "lib.rs" => Some("mod a; mod b; mod c;".to_owned()),
            "a.rs" => Some("use crate::b::B; struct A;".to_owned()),
            "b.rs" => Some("use crate::c::C; struct B;".to_owned()),
            "c.rs" => Some("use crate::a::A; struct C;".to_owned()),
            _ => None,
        };
        let arrows = Arrows::of(read).unwrap();
        assert_eq!(arrows.circles(3).len(), 0);
        assert_eq!(arrows.circles(2).len(), 1);
        assert!(Arrows::of(|path| (path == Path::new("lib.rs")).then(|| "mod gone;".to_owned())).is_err());
    }
}
