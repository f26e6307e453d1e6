//! Every mutant of a crate, compiled in at once, each behind a question that an environment variable answers.
//!
//! What is changed: comparisons, Boolean, bitwise and arithmetic operators, negations, conditions, guards, arms of matches that
//! have a catch-all, Boolean literals, statements left out, and functions that return at once. Constants, `const fn` and what
//! stands inside macros are not.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use quote::{ToTokens, quote};
use syn::spanned::Spanned;
use syn::visit_mut::{self, VisitMut};
use syn::{BinOp, Expr, ReturnType, Stmt, UnOp};

use crate::arrows::modules::holds;

/// Asks whether a mutant is the chosen one; writes down, if asked to, that it was asked about.
pub(super) const SWITCH: &str = r#"
mod mutants {
    extern crate std;
    use std::io::Write;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicBool, Ordering};

    pub(crate) fn on(n: usize) -> bool {
        static CHOSEN: OnceLock<usize> = OnceLock::new();
        static ASKED: OnceLock<Option<std::fs::File>> = OnceLock::new();
        static SEEN: [AtomicBool; crate::MUTANTS] = [const { AtomicBool::new(false) }; crate::MUTANTS];
        let asked = ASKED.get_or_init(|| {
            let path = std::env::var_os("MUTANTS_ASKED")?;
            Some(std::fs::OpenOptions::new().create(true).append(true).open(path).expect("a file to write down"))
        });
        if let Some(mut file) = asked.as_ref()
            && !SEEN[n].swap(true, Ordering::Relaxed)
        {
            file.write_all(std::format!("{n}\n").as_bytes()).expect("room to write down");
        }
        *CHOSEN.get_or_init(|| std::env::var("MUTANT").ok().and_then(|n| n.parse().ok()).unwrap_or(usize::MAX)) == n
    }
}
"#;

/// A change of the sources.
#[derive(Clone, Debug)]
pub(super) struct Mutant {
    /// The file below `src`, and the line.
    pub(super) place: String,
    /// The function and what is changed in it, with a number where several changes of a crate read alike.
    pub(super) name: String,
}

/// Puts every mutant into the files of a crate. `refused` are those that the compiler has refused before.
pub(super) struct Mutator<'a> {
    file: String,
    function: String,
    refused: &'a BTreeSet<usize>,
    pub(super) mutants: Vec<Mutant>,
    /// How many there are of each name.
    names: BTreeMap<String, usize>,
}

impl Mutator<'_> {
    pub(super) fn new(refused: &BTreeSet<usize>) -> Mutator<'_> {
        Mutator { file: String::new(), function: String::new(), refused, mutants: Vec::new(), names: BTreeMap::new() }
    }

    /// The text of a file with every mutant in it.
    pub(super) fn mutate(&mut self, file: &str, text: &str) -> Result<String> {
        let mut tree = syn::parse_file(text).with_context(|| format!("parsing {file}"))?;
        self.file = file.to_owned();
        self.visit_file_mut(&mut tree);
        Ok(tree.to_token_stream().to_string())
    }
}

impl Mutator<'_> {
    /// A question whether this mutant is on; `None` if the compiler refuses it.
    fn on(&mut self, at: proc_macro2::Span, what: &str) -> Option<proc_macro2::TokenStream> {
        let n = self.mutants.len();
        let name = format!("{}: {what}", self.function);
        let before = self.names.entry(name.clone()).and_modify(|number| *number += 1).or_insert(1);
        let name = if *before == 1 { name } else { format!("{name} (number {before})") };
        self.mutants.push(Mutant { place: format!("{}:{}", self.file, at.start().line), name });
        (!self.refused.contains(&n)).then(|| quote!(crate::mutants::on(#n)))
    }

    fn function(&mut self, signature: &syn::Signature, block: &mut syn::Block) {
        if signature.constness.is_some() {
            return;
        }
        self.function = signature.ident.to_string();
        visit_mut::visit_block_mut(self, block);
        let returned = match &signature.output {
            ReturnType::Default => vec![quote!(())],
            ReturnType::Type(_, kind) => match kind.to_token_stream().to_string() {
                kind if kind == "bool" => vec![quote!(true), quote!(false)],
                kind if kind.starts_with("Option <") => vec![quote!(None)],
                kind if kind.starts_with("Result < () ,") => vec![quote!(Ok(()))],
                kind if kind.starts_with("Vec <") => vec![quote!(Vec::new())],
                _ => vec![],
            },
        };
        for value in returned {
            if let Some(on) = self.on(signature.span(), &format!("returns {value} at once")) {
                let early: Stmt = syn::parse_quote!(if #on { return #value; });
                block.stmts.insert(0, early);
            }
        }
    }

    /// The condition, and the same always true and never; unless it was an operator before any mutant was put into it.
    fn condition(&mut self, condition: &mut Expr, before: Option<(proc_macro2::Span, String)>) {
        let Some((at, text)) = before else { return };
        let always = self.on(at, &format!("condition `{text}` is true"));
        let never = self.on(at, &format!("condition `{text}` is false"));
        if let (Some(always), Some(never)) = (always, never) {
            *condition = syn::parse_quote!((#always || !#never && (#condition)));
        }
    }
}

impl VisitMut for Mutator<'_> {
    fn visit_item_mod_mut(&mut self, item: &mut syn::ItemMod) {
        if holds(&item.attrs) {
            visit_mut::visit_item_mod_mut(self, item);
        }
    }

    fn visit_item_fn_mut(&mut self, item: &mut syn::ItemFn) {
        if holds(&item.attrs) {
            self.function(&item.sig, &mut item.block);
        }
    }

    fn visit_impl_item_fn_mut(&mut self, item: &mut syn::ImplItemFn) {
        if holds(&item.attrs) {
            self.function(&item.sig, &mut item.block);
        }
    }

    fn visit_item_static_mut(&mut self, _: &mut syn::ItemStatic) {}
    fn visit_variant_mut(&mut self, _: &mut syn::Variant) {}
    fn visit_item_const_mut(&mut self, _: &mut syn::ItemConst) {}
    fn visit_impl_item_const_mut(&mut self, _: &mut syn::ImplItemConst) {}
    fn visit_type_mut(&mut self, _: &mut syn::Type) {}
    fn visit_pat_mut(&mut self, _: &mut syn::Pat) {}
    fn visit_attribute_mut(&mut self, _: &mut syn::Attribute) {}

    fn visit_stmt_mut(&mut self, stmt: &mut Stmt) {
        let before = match stmt {
            Stmt::Expr(
                expr @ (Expr::MethodCall(_) | Expr::Call(_) | Expr::Try(_) | Expr::Await(_) | Expr::Assign(_)),
                Some(_),
            ) => Some((expr.span(), brief(expr))),
            _ => None,
        };
        visit_mut::visit_stmt_mut(self, stmt);
        if let Some((at, text)) = before
            && let Some(on) = self.on(at, &format!("leaves out `{text}`"))
        {
            *stmt = syn::parse_quote!(if !#on { #stmt });
        }
    }

    fn visit_arm_mut(&mut self, arm: &mut syn::Arm) {
        if let Some((_, guard)) = &mut arm.guard {
            let before = plain_condition(guard);
            self.visit_expr_mut(guard);
            self.condition(guard, before);
        }
        self.visit_expr_mut(&mut arm.body);
    }

    fn visit_expr_match_mut(&mut self, expr: &mut syn::ExprMatch) {
        visit_mut::visit_expr_match_mut(self, expr);
        let is_catch_all = |arm: &syn::Arm| matches!(arm.pat, syn::Pat::Wild(_)) && arm.guard.is_none();
        if expr.arms.iter().any(is_catch_all) {
            for arm in expr.arms.iter_mut().filter(|arm| !is_catch_all(arm)) {
                let what = format!("arm `{}` is not there", brief(&arm.pat));
                let Some(on) = self.on(arm.pat.span(), &what) else { continue };
                let guard: Expr = match &arm.guard {
                    Some((_, guard)) if has_let(guard) => syn::parse_quote!(!#on && #guard),
                    Some((_, guard)) => syn::parse_quote!(!#on && (#guard)),
                    None => syn::parse_quote!(!#on),
                };
                arm.guard = Some((Default::default(), Box::new(guard)));
            }
        }
    }

    fn visit_expr_repeat_mut(&mut self, expr: &mut syn::ExprRepeat) {
        self.visit_expr_mut(&mut expr.expr);
    }

    fn visit_expr_const_mut(&mut self, _: &mut syn::ExprConst) {}

    fn visit_expr_mut(&mut self, expr: &mut Expr) {
        let at = expr.span();
        let before = match expr {
            Expr::If(syn::ExprIf { cond, .. }) | Expr::While(syn::ExprWhile { cond, .. }) => plain_condition(cond),
            _ => None,
        };
        let text = match expr {
            Expr::Binary(binary) => brief(&binary.left),
            Expr::Unary(unary) => brief(&unary.expr),
            _ => String::new(),
        };
        visit_mut::visit_expr_mut(self, expr);
        match expr {
            Expr::If(branch) => self.condition(&mut branch.cond, before),
            Expr::While(branch) => self.condition(&mut branch.cond, before),
            Expr::Unary(unary) if matches!(unary.op, UnOp::Not(_)) => {
                let Some(on) = self.on(at, &format!("leaves out `!` before `{text}`")) else { return };
                let inner = &unary.expr;
                // Twice is none, whatever the type.
                *expr = syn::parse_quote!((if #on { !!#inner } else { !#inner }));
            }
            Expr::Lit(literal) => {
                if let syn::Lit::Bool(value) = &literal.lit
                    && let Some(on) = self.on(at, &format!("`{}` is the other value", value.value))
                {
                    *expr = syn::parse_quote!((#literal ^ #on));
                }
            }
            Expr::Binary(binary) => {
                if has_let(&binary.left) || has_let(&binary.right) {
                    return;
                }
                let Some(other) = other(&binary.op) else { return };
                let is = binary.op.to_token_stream();
                let what = format!("`{is}` is `{}` after `{text}`", other.to_token_stream());
                let Some(on) = self.on(at, &what) else { return };
                let (left, right) = (&binary.left, &binary.right);
                // An assignment such as `|=` is one of these, too.
                *expr = syn::parse_quote!((if #on { #left #other #right } else { #binary }));
            }
            _ => {}
        }
    }
}

/// What an operator is changed into.
fn other(op: &BinOp) -> Option<BinOp> {
    Some(match op {
        BinOp::Eq(_) => syn::parse_quote!(!=),
        BinOp::Ne(_) => syn::parse_quote!(==),
        BinOp::Lt(_) => syn::parse_quote!(<=),
        BinOp::Le(_) => syn::parse_quote!(<),
        BinOp::Gt(_) => syn::parse_quote!(>=),
        BinOp::Ge(_) => syn::parse_quote!(>),
        BinOp::And(_) => syn::parse_quote!(||),
        BinOp::Or(_) => syn::parse_quote!(&&),
        BinOp::Add(_) => syn::parse_quote!(-),
        BinOp::Sub(_) => syn::parse_quote!(+),
        BinOp::Mul(_) => syn::parse_quote!(+),
        BinOp::Div(_) => syn::parse_quote!(*),
        BinOp::Rem(_) => syn::parse_quote!(/),
        BinOp::BitAnd(_) => syn::parse_quote!(|),
        BinOp::BitOr(_) => syn::parse_quote!(&),
        BinOp::BitXor(_) => syn::parse_quote!(|),
        BinOp::BitOrAssign(_) => syn::parse_quote!(&=),
        BinOp::BitAndAssign(_) => syn::parse_quote!(|=),
        BinOp::AddAssign(_) => syn::parse_quote!(-=),
        _ => return None,
    })
}

/// Where a condition is and what it says, if it is neither an operator, whose mutants are enough, nor has a `let`.
fn plain_condition(condition: &Expr) -> Option<(proc_macro2::Span, String)> {
    let plain = !has_let(condition) && !matches!(condition, Expr::Binary(_));
    plain.then(|| (condition.span(), brief(condition)))
}

/// Whether an expression has a `let` that names must come from.
fn has_let(expr: &Expr) -> bool {
    match expr {
        Expr::Let(_) => true,
        Expr::Binary(binary) => has_let(&binary.left) || has_let(&binary.right),
        Expr::Paren(inner) => has_let(&inner.expr),
        _ => false,
    }
}

/// The start of a piece of code in one line, without the mutants in it.
fn brief(code: &impl ToTokens) -> String {
    let text: String = code.to_token_stream().to_string();
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{} …", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mutants(source: &str) -> Vec<String> {
        let refused = BTreeSet::new();
        let mut mutator = Mutator::new(&refused);
        mutator.mutate("a.rs", source).unwrap();
        mutator.mutants.iter().map(|Mutant { place, name }| format!("{place}: {name}")).collect()
    }

    #[test]
    fn operators_conditions_statements_and_whole_functions_are_changed() {
        let found =
            mutants("fn f(a: bool, b: u8) { if a { g.h(); } let c = b < 3; let d = !a; }\nfn p() -> bool { true }");
        for what in [
            "a.rs:1: f: condition `a` is true",
            "a.rs:1: f: condition `a` is false",
            "a.rs:1: f: leaves out `g . h ()`",
            "a.rs:1: f: `<` is `<=` after `b`",
            "a.rs:1: f: leaves out `!` before `a`",
            "a.rs:1: f: returns () at once",
            "a.rs:2: p: `true` is the other value",
            "a.rs:2: p: returns true at once",
            "a.rs:2: p: returns false at once",
        ] {
            assert!(found.iter().any(|mutant| mutant == what), "{what}\n{found:#?}");
        }
        assert_eq!(found.len(), 9, "{found:#?}");
    }

    #[test]
    fn changes_that_read_alike_are_numbered() {
        let found = mutants("fn f(a: bool) { if a { g(false);\n g(false); } }");
        assert!(found.contains(&"a.rs:1: f: `false` is the other value".to_owned()), "{found:#?}");
        assert!(found.contains(&"a.rs:2: f: `false` is the other value (number 2)".to_owned()), "{found:#?}");
    }

    #[test]
    fn what_cannot_ask_and_what_is_a_test_is_left_alone() {
        let source = "const A: bool = !true; const fn f() -> bool { !A }\n#[cfg(test)] mod tests { fn g() { h(!true); } }\n\
            fn m(x: [u8; 1 + 1]) -> u8 { if let Some(y) = x.first() && y != z { 1 } else { 2 } }";
        assert_eq!(mutants(source), ["a.rs:3: m: `!=` is `==` after `y`"]);
    }

    #[test]
    fn an_arm_can_be_missed_where_there_is_a_catch_all() {
        let found = mutants("fn f(a: u8) -> u8 { match a { 1 => 2, n if n > 3 => 4, _ => 5 } }");
        assert_eq!(found.iter().filter(|mutant| mutant.contains("is not there")).count(), 2, "{found:#?}");
    }

    #[test]
    fn a_change_that_the_compiler_refuses_is_left_out_and_the_others_keep_their_numbers() {
        let refused = BTreeSet::from([0]);
        let mut mutator = Mutator::new(&refused);
        let text = mutator.mutate("a.rs", "fn f(a: u8, b: u8) -> u8 { (a + b) + (a - b) }").unwrap();
        assert_eq!(mutator.mutants.len(), 3);
        assert!(
            !text.contains("on (0usize)") && text.contains("on (1usize)") && text.contains("on (2usize)"),
            "{text}"
        );
    }
}
