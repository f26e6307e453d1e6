//! Arguments, exit status, and the one line that says what went wrong.

use std::ffi::OsString;
use std::io::Write;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, Parser, Subcommand};

use crate::failure::{Failure, Outcome};
use crate::output::{self, Console, PROBLEM, quote};
use crate::{conformance, decode, explain, faults, replay, run as run_command};

const AFTER_HELP: &str = "\
Exit status: 0 everything held; 1 something did not; 2 bad usage or bad input; 130 interrupted.

Examples:
  $ gicv5 conformance
  $ gicv5 decode IRS_VPE_DBR 0x8000001f00000040
  $ gicv5 explain VMT-15
  $ gicv5 faults --list
  $ gicv5 run scenarios/first-vm.toml
  $ gicv5 replay traces/random-lpi-spi-1cpu.trace.zst";

/// Virtual machines on Arm's GICv5, on the command line.
#[derive(Debug, Parser)]
#[command(name = "gicv5", version, after_help = AFTER_HELP)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the conformance tests on the model.
    Conformance(conformance::Args),
    /// Says in words what a register, table entry, INTID or instruction word means.
    Decode(decode::Args),
    /// Shows behaviour rules, source hazards and open questions by id.
    Explain(explain::Args),
    /// Runs the fault matrix: everything that can go wrong while a VM comes, lives and goes.
    Faults(faults::Args),
    /// Runs VMs on the model as a scenario describes them, and checks what comes of it.
    Run(run_command::Args),
    /// Writes a scenario to begin with.
    New(run_command::NewArgs),
    /// Prints a script that completes commands and options in a shell.
    Completions(Completions),
    /// Replays a QEMU trace of a real system against the model and compares every answer.
    Replay(replay::Args),
}

const COMPLETIONS_AFTER_HELP: &str = "\
Examples:
  $ gicv5 completions fish";

/// Arguments of `gicv5 completions`.
#[derive(Debug, clap::Args)]
#[command(after_help = COMPLETIONS_AFTER_HELP)]
struct Completions {
    /// The shell
    shell: clap_complete::Shell,
    /// Prints one JSON document (docs/json.md)
    #[arg(long)]
    json: bool,
}

/// Runs the program and gives its exit status.
pub(crate) fn run(args: impl Iterator<Item = OsString>, out: &mut Console<'_>, err: &mut dyn Write) -> u8 {
    match execute(args, out).and_then(|outcome| Ok(out.flush().map(|()| outcome)?)) {
        Ok(outcome) => outcome.status(),
        Err(failure) => {
            // There is nowhere left to report that standard error cannot be written.
            let _ = match &failure {
                failure if failure.is_broken_pipe() => Ok(()),
                // It begins with "error" itself.
                Failure::Diagnostic(text) => writeln!(err, "{text}"),
                failure => writeln!(err, "{PROBLEM}error{PROBLEM:#}: {failure}"),
            };
            failure.status()
        }
    }
}

fn execute(args: impl Iterator<Item = OsString>, out: &mut Console<'_>) -> Result<Outcome, Failure> {
    let args = args
        .enumerate()
        .map(|(index, arg)| match arg.into_string() {
            Ok(arg) => Ok(arg),
            // What the program is called, or where it lies, is not the user's argument.
            Err(_) if index == 0 => Ok("gicv5".to_owned()),
            Err(arg) => {
                let arg = arg.to_string_lossy();
                Err(Failure::BadInput(format!("argument {index} is not UTF-8: {}", quote(&arg))))
            }
        })
        .collect::<Result<Vec<String>, Failure>>()?;
    let cli = match Cli::try_parse_from(&args) {
        Ok(cli) => cli,
        Err(error) if !error.use_stderr() => {
            write!(out, "{}", error.render().ansi())?;
            return Ok(Outcome::Held);
        }
        Err(error) => return Err(Failure::BadInput(usage_problem(&error, &args))),
    };
    match cli.command {
        Command::Conformance(args) => conformance::run(&args, out),
        Command::Decode(args) => decode::run(&args, out).map(|()| Outcome::Held),
        Command::Explain(args) => explain::run(&args, out).map(|()| Outcome::Held),
        Command::Faults(args) => faults::run(&args, out),
        Command::Run(args) => run_command::run(&args, out),
        Command::New(args) => run_command::new(&args, out).map(|()| Outcome::Held),
        Command::Completions(Completions { shell, json }) => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "gicv5", &mut script);
            if json {
                let script = String::from_utf8_lossy(&script);
                output::json(out, &serde_json::json!({ "shell": shell.to_string(), "script": script }))?;
            } else {
                out.write_all(&script)?;
            }
            Ok(Outcome::Held)
        }
        Command::Replay(args) => replay::run(&args, out),
    }
}

/// The parser's complaint as one line.
fn usage_problem(error: &clap::Error, args: &[String]) -> String {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        Some(ContextValue::Strings(texts)) => Some(texts.join(", ")),
        _ => None,
    };
    let program = Cli::command();
    let command = args.get(1).and_then(|name| program.find_subcommand(name));
    let help = command
        .map_or_else(|| "see gicv5 --help".to_owned(), |command| format!("see gicv5 {} --help", command.get_name()));
    let offered = context(ContextKind::SuggestedArg).or_else(|| context(ContextKind::SuggestedSubcommand));
    let hint = offered.map_or(help.clone(), |name| format!("the nearest is {name}"));
    match error.kind() {
        ErrorKind::UnknownArgument => {
            let arg = context(ContextKind::InvalidArg).unwrap_or_default();
            let typed = args.iter().find(|typed| typed.starts_with(&arg)).unwrap_or(&arg);
            let number = typed.trim_start_matches('-').starts_with(|c: char| c.is_ascii_digit());
            if number && args.get(1).is_some_and(|name| name == "decode") {
                format!("{} is negative; values are raw bits, so write it without a sign", quote(typed))
            } else if number {
                format!("{} is negative, and no argument here can be; {help}", quote(typed))
            } else {
                format!("unexpected argument {}; {hint}", quote(typed))
            }
        }
        ErrorKind::InvalidSubcommand => {
            format!("no command {}; {hint}", quote(&context(ContextKind::InvalidSubcommand).unwrap_or_default()))
        }
        ErrorKind::MissingSubcommand | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            format!("no command given; {help}")
        }
        ErrorKind::MissingRequiredArgument => {
            format!("missing {}; {help}", context(ContextKind::InvalidArg).unwrap_or_default())
        }
        ErrorKind::ArgumentConflict if context(ContextKind::InvalidArg) == context(ContextKind::PriorArg) => {
            format!("{} is given twice; {help}", context(ContextKind::InvalidArg).unwrap_or_default())
        }
        ErrorKind::ArgumentConflict => format!(
            "{} cannot be used with {}; {help}",
            context(ContextKind::InvalidArg).unwrap_or_default(),
            context(ContextKind::PriorArg).unwrap_or_default()
        ),
        _ => {
            let text = error.to_string();
            let line = text.lines().next().unwrap_or_default();
            let line = line.strip_prefix("error: ").unwrap_or(line);
            // Control characters do not reach the terminal; quotation marks may.
            let line: String = line.chars().filter(|c| !c.is_control()).collect();
            format!("{}; {help}", at_most(&line, 160))
        }
    }
}

/// The words of `line` that fit into `limit` characters, and dots where some are missing. A first word that is longer than
/// that is cut.
fn at_most(line: &str, limit: usize) -> String {
    let Some((end, _)) = line.char_indices().nth(limit) else {
        return line.to_owned();
    };
    let fits = line.get(..end).unwrap_or(line);
    let whole = fits.rfind(' ').and_then(|blank| fits.get(..blank)).unwrap_or(fits);
    format!("{whole} ...")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::ffi::OsString;

    use clap::CommandFactory;
    use proptest::prelude::*;

    use crate::output::Console;

    /// Runs the program in this process: exit status, standard output, standard error.
    fn run(args: &[&str]) -> (u8, String, String) {
        let args = std::iter::once("gicv5").chain(args.iter().copied()).map(OsString::from);
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let status = super::run(args, &mut Console::new(&mut out, None), &mut err);
        let text = |bytes| anstream::adapter::strip_str(&String::from_utf8(bytes).unwrap()).to_string();
        (status, text(out), text(err))
    }

    /// Splits a command line at blanks, with double quotes around an argument that holds some.
    fn split(line: &str) -> Vec<String> {
        let pieces = line.split('"').enumerate();
        pieces
            .flat_map(|(index, piece)| {
                if index % 2 == 1 {
                    vec![piece.to_owned()]
                } else {
                    piece.split_whitespace().map(str::to_owned).collect()
                }
            })
            .collect()
    }

    #[test]
    fn every_example_in_the_help_works_and_has_a_transcript() {
        let transcripts = include_str!("../tests/cmd/help-examples.trycmd");
        let mut examples = 0;
        let program = super::Cli::command();
        let commands = program.get_subcommands().map(|command| vec![command.get_name(), "--help"]);
        for help in commands.chain([vec!["--help"]]) {
            let (status, text, _) = run(&help);
            assert_eq!(status, 0);
            let lines: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("  $ gicv5 ")).collect();
            assert!(!lines.is_empty(), "{help:?} has no example");
            for line in lines {
                examples += 1;
                let args = split(line);
                // Examples are for the root of the project.
                let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../");
                let args: Vec<String> = args
                    .iter()
                    .map(|arg| match ["traces/", "scenarios/"].iter().any(|folder| arg.starts_with(folder)) {
                        true => format!("{root}{arg}"),
                        false => arg.clone(),
                    })
                    .collect();
                let args: Vec<&str> = args.iter().map(String::as_str).collect();
                assert_eq!(run(&args).0, 0, "{line}");
                let shown = transcripts.lines().any(|transcript| transcript == format!("$ gicv5 {line}"));
                assert!(shown, "no transcript of: gicv5 {line}");
            }
        }
        assert!(examples >= 15, "{examples}");
    }

    #[test]
    fn help_and_version_are_no_errors() {
        for args in [&["--version"][..], &["help"], &["help", "decode"], &["--help"], &["explain", "-h"]] {
            let (status, out, err) = run(args);
            assert_eq!((status, err.as_str()), (0, ""), "{args:?}");
            assert!(!out.is_empty());
        }
    }

    #[test]
    fn bad_usage_is_one_line_on_standard_error() {
        let long = "x".repeat(100_000);
        let digits = format!("0x{}", "f".repeat(100_000));
        for args in [
            &[][..],
            &[""],
            &["decod"],
            &["decode"],
            &["decode", ""],
            &["decode", "IRS_IDR0"],
            &["decode", "IRS_IDR0", ""],
            &["decode", "IRS_IDR0", "0x"],
            &["decode", "IRS_IDR0", "-5"],
            &["decode", "IRS_IDR0", "-0x5"],
            &["decode", "IRS_IDR0", "-"],
            &["decode", "IRS_IDR0", "0x100000000"],
            &["decode", "IRS_IDR0", "1", "2"],
            &["decode", "IRS_IDR00", "1"],
            &["decode", "IWB_WENABLER2048", "1"],
            &["decode", "IWB_WENABLER99999999999999999999", "1"],
            &["decode", "S3_0_C1_C2_3", "1"],
            &["decode", "S9_0_C1_C2_3", "1"],
            &["decode", "l2_vmte", "1", "2", "3"],
            &["decode", "l2_vmte", "1", "2", "3", "4", "5"],
            &["decode", "gic", "vdpend", "1"],
            &["decode", "GIC CDEOI", "1"],
            &["decode", "GIC VDPEND"],
            &["decode", "intid", "0x12000001b"],
            &["decode", "insn", "nop"],
            &["decode", "--list", "IRS_IDR0"],
            &["decode", "--jsno", "IRS_IDR0", "1"],
            &["decode", "vped", "nothing"],
            &["decode", "line\nbreak", "1"],
            &["decode", "\u{1b}[31mred", "1"],
            &["decode", &long, "1"],
            &["decode", "IRS_IDR0", &long],
            &["decode", "IRS_IDR0", &digits],
            &[&long],
            &["decode", &format!("--{long}")],
            &["explain"],
            &["explain", ""],
            &["explain", "VMT-99"],
            &["explain", "VTM-1"],
            &["explain", "hazard-99"],
            &["explain", &long],
            &["explain", "--list", "VMT-1"],
            &["conformance", "--filter", "no such test"],
            &["conformance", "--pes", "0"],
            &["conformance", "--pes", "9"],
            &["conformance", "--machine", "none"],
            &["conformance", "--list", "--pes", "1"],
            &["conformance", "--junit", "/no/such/folder/file.xml"],
            &["conformance", &long],
            &["replay"],
            &["replay", "no such trace"],
            &["replay", "line\nbreak"],
            &["replay", &long],
            &["replay", env!("CARGO_MANIFEST_DIR")],
            &["replay", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")],
            &["run"],
            &["run", "no such scenario"],
            &["run", env!("CARGO_MANIFEST_DIR")],
            &["run", &long],
            &["run", "--list", "scenario"],
            &["run", "--seed", "x", "scenario"],
            &["completions"],
            &["completions", "cmd"],
            &["new"],
            &["new", "a b"],
            &["new", "no such folder/name"],
        ] {
            let (status, out, err) = run(args);
            let shown: Vec<String> = args.iter().map(|arg| arg.chars().take(30).collect()).collect();
            assert_eq!((status, out.as_str()), (2, ""), "{shown:?}");
            assert!(err.starts_with("error: ") && err.ends_with('\n'), "{shown:?}: {err}");
            assert_eq!(err.lines().count(), 1, "{shown:?}: {err}");
            assert!(err.len() < 300 && err.trim_end().len() > 20, "{shown:?}: {err}");
            assert!(!err.trim_end().contains(char::is_control), "{shown:?}: {err}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_program_in_a_folder_with_an_odd_name_still_runs() {
        use std::os::unix::ffi::OsStringExt;
        let odd = || OsString::from_vec(vec![b'/', 0xff, b'/', b'g']);
        let run = |args: &[OsString]| {
            let (mut out, mut err) = (Vec::new(), Vec::new());
            let status = super::run(args.iter().cloned(), &mut Console::new(&mut out, None), &mut err);
            (status, String::from_utf8(err).unwrap())
        };
        assert_eq!(run(&[odd(), "decode".into(), "intid".into(), "0x2000001b".into()]), (0, String::new()));
        let (status, error) = run(&[odd(), "decode".into(), odd(), "1".into()]);
        assert_eq!(status, 2);
        assert!(error.contains("argument 2 is not UTF-8"), "{error}");
    }

    #[test]
    fn a_negative_number_is_told_what_its_own_command_takes() {
        let (_, _, error) = run(&["decode", "IRS_IDR0", "-5"]);
        assert!(error.contains("values are raw bits"), "{error}");
        let (_, _, error) = run(&["faults", "--seed", "-1"]);
        assert!(!error.contains("raw bits") && error.contains("see gicv5 faults --help"), "{error}");
    }

    #[test]
    fn a_long_complaint_ends_between_two_words() {
        assert_eq!(super::at_most("one two three", 13), "one two three");
        assert_eq!(super::at_most("one two three", 9), "one two ...");
        assert_eq!(super::at_most("\u{e9}\u{e9}\u{e9}\u{e9}", 3), "\u{e9}\u{e9}\u{e9} ...");
    }

    #[test]
    fn what_the_parser_of_arguments_says_is_repeated_as_it_is() {
        let (_, _, error) = run(&["decode", "--json=1", "IRS_IDR0", "1"]);
        assert_eq!(
            error.lines().next(),
            Some("error: unexpected value '1' for '--json' found; no more were expected; see gicv5 decode --help")
        );
        let (_, _, error) = run(&["decode", "--json=\u{1b}[31m", "IRS_IDR0", "1"]);
        assert!(!error.trim_end().contains(char::is_control), "{error:?}");
        let (_, _, error) = run(&["decode", "--json", "--json", "IRS_IDR0", "1"]);
        assert_eq!(error, "error: --json is given twice; see gicv5 decode --help\n");
    }

    /// Every path of keys in a document, such as `fields[].name`.
    fn paths(value: &serde_json::Value, prefix: &str, found: &mut BTreeSet<String>) {
        match value {
            serde_json::Value::Object(map) => {
                for (key, value) in map {
                    let path = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
                    found.insert(path.clone());
                    paths(value, &path, found);
                }
            }
            serde_json::Value::Array(list) => {
                for value in list {
                    paths(value, &format!("{prefix}[]"), found);
                }
            }
            _ => {}
        }
    }

    /// The first column of the tables under a heading of docs/json.md.
    fn documented(heading: &str) -> BTreeSet<String> {
        let page = include_str!("../../../docs/json.md");
        page.lines()
            .skip_while(|line| *line != format!("## {heading}"))
            .skip(1)
            .take_while(|line| !line.starts_with("## "))
            .filter_map(|line| line.strip_prefix("| `")?.split_once('`'))
            .map(|(path, _)| path.to_owned())
            .collect()
    }

    #[test]
    fn the_json_documents_hold_what_their_page_says_and_nothing_else() {
        for (heading, commands) in [
            (
                "decode",
                &[
                    &["decode", "--json", "IRS_VMAP_VISTR", "0x8000000720000000"][..],
                    &["decode", "--json", "ICC_PPI_ENABLER0_EL1", "8"],
                    &["decode", "--json", "GIC VDPEND", "0x8000_0007_4000_2005"],
                    &["decode", "--json", "IRS_MPAM_IDR", "0x1000000"],
                    &["decode", "--json", "vped"],
                    &["decode", "--json", "intid", "0"],
                    &["decode", "--json", "insn", "0xd508c12c"],
                ][..],
            ),
            ("decode --list", &[&["decode", "--list", "--json"]]),
            ("conformance", &[&["conformance", "--json", "--filter", "GEN-15"]]),
            ("conformance --random", &[&["conformance", "--random", "2", "--length", "20", "--json"]]),
            (
                "conformance --corrupt",
                &[&[
                    "conformance",
                    "--corrupt",
                    "60",
                    "--seed",
                    "2",
                    "--pes",
                    "1",
                    "--filter",
                    "residency::",
                    "--json",
                ]],
            ),
            ("conformance --list", &[&["conformance", "--list", "--json"]]),
            ("explain", &[&["explain", "--json", "VMT-15", "hazard-1"]]),
            ("replay", &[&["replay", "--json", concat!(env!("CARGO_MANIFEST_DIR"), "/tests/traces/divergent.trace")]]),
            ("run", &[&["run", "--json", concat!(env!("CARGO_MANIFEST_DIR"), "/tests/scenarios/crowded.toml")]]),
            ("run --list", &[&["run", "--list", "--json"]]),
            ("faults --list", &[&["faults", "--list", "--json"]]),
            ("new", &[&["new", "my-vm", "--print", "--json"]]),
            ("completions", &[&["completions", "fish", "--json"]]),
        ] {
            // The trace is one with a divergence, and the scenario one with an error, so that all there is to say is said.
            let expected = u8::from(["replay", "run"].contains(&heading));
            let mut found = BTreeSet::new();
            for command in commands {
                let (status, out, err) = run(command);
                assert_eq!((status, err.as_str()), (expected, ""), "{command:?}");
                paths(&serde_json::from_str(&out).unwrap(), "", &mut found);
            }
            assert_eq!(found, documented(heading), "{heading}");
        }
    }

    #[test]
    fn lists_are_lists_and_counts_are_integers() {
        let (_, out, _) = run(&["decode", "--json", "IRS_VPE_DBR", "0x8000001f00000040"]);
        let document: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!(document["name"], "IRS_VPE_DBR");
        assert_eq!(document["problems"], serde_json::json!([]));
        assert!(document["remarks"].as_array().is_some_and(|list| !list.is_empty()));
        let mask = document["fields"].as_array().unwrap().iter().find(|field| field["name"] == "DBPM").unwrap();
        assert_eq!((mask["value"].as_u64(), mask["bits"].as_str()), (Some(31), Some("36:32")));
        let (_, out, _) = run(&["explain", "--json", "VMT"]);
        let document: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!(document["count"].as_u64(), Some(23));
        assert_eq!(document["rule_list"].as_array().unwrap().len(), 23);
    }

    #[test]
    fn everything_listed_can_be_decoded_and_explained() {
        let (_, out, _) = run(&["decode", "--list", "--json"]);
        let document: serde_json::Value = serde_json::from_str(&out).unwrap();
        for kind in document["kind_list"].as_array().unwrap() {
            let name = kind["name"].as_str().unwrap();
            let values = match kind["width"].as_u64() {
                None => 0,
                _ if ["GIC CDEOI", "GSB SYS", "GSB ACK"].contains(&name) => 0,
                Some(width) => width.div_ceil(64),
            };
            let mut args = vec!["decode", name];
            args.extend((0..values).map(|_| "0"));
            assert_eq!(run(&args).0, 0, "{args:?}");
            let lower = name.to_ascii_lowercase();
            args[1] = &lower;
            assert_eq!(run(&args).0, 0, "{args:?}");
        }
        let (_, out, _) = run(&["explain", "--list"]);
        for line in out.lines() {
            let id = line.split_whitespace().next().unwrap();
            assert_eq!(run(&["explain", &id.to_ascii_lowercase()]).0, 0, "{id}");
        }
    }

    fn word() -> impl Strategy<Value = String> {
        let known = [
            "conformance",
            "decode",
            "explain",
            "help",
            "--json",
            "--list",
            "--help",
            "-h",
            "-V",
            "--",
            "-",
            "-5",
            "--json=1",
            "",
            "0",
            "0x8000001f00000040",
            "0xd508c12c",
            "0b1",
            "1_000",
            "0x",
            "intid",
            "insn",
            "l2_vmte",
            "vped",
            "GIC VDPEND",
            "gic",
            "cdeoi",
            "GICR CDIA",
            "IRS_IDR3",
            "IWB_WENABLER3",
            "IWB_WENABLER<n>",
            "S3_4_C12_C11_6",
            "VMT",
            "VMT-15",
            "hazard-6",
            "question",
            "pitfall-1",
            "S3",
            "IRS_",
            "é",
            "\n",
        ];
        prop_oneof![4 => prop::sample::select(known.to_vec()).prop_map(str::to_owned), 1 => any::<String>()]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]
        #[test]
        fn no_argument_vector_panics_or_ends_with_anything_but_0_or_2(args in prop::collection::vec(word(), 0..6)) {
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            let (status, out, err) = run(&args);
            prop_assert!(status == 0 || status == 2);
            prop_assert_eq!(status == 0, err.is_empty());
            prop_assert_eq!(status == 2, out.is_empty());
        }
    }
}
