//! `tcptrace generate FOLDER`: man pages and shell completions, from the definitions that `--help` prints.
//!
//! The layout below the folder is that of `/usr/local/share` and `~/.local/share`, where man, bash, zsh and fish look.
//! Nothing that `--help` hides gets into them.

use std::{fs, io, iter, path::Path};

use clap::{Command, CommandFactory as _};
use clap_complete::{Shell, generate_to};
use clap_mangen::Man;

use crate::cli::Args;

/// The shells, where below the folder each looks, and the name by which it looks there.
const SHELLS: [(Shell, &str, &str); 3] = [
    (Shell::Bash, "bash-completion/completions", "tcptrace"),
    (Shell::Zsh, "zsh/site-functions", "_tcptrace"),
    (Shell::Fish, "fish/vendor_completions.d", "tcptrace.fish"),
];

/// Writes all files, over those of an earlier version.
///
/// # Errors
/// When the folder cannot be written to.
pub fn run(folder: &Path) -> io::Result<()> {
    let mut program = Args::command().disable_help_subcommand(true);
    // Gives the subcommands the program's name.
    program.build();
    let pages = folder.join("man/man1");
    fs::create_dir_all(&pages)?;
    let subcommands = program.get_subcommands().filter(|it| !it.is_hide_set());
    for command in iter::once(&program).chain(subcommands) {
        let (name, text) = page(command)?;
        fs::write(pages.join(name), text)?;
    }
    for (shell, place, name) in SHELLS {
        let place = folder.join(place);
        fs::create_dir_all(&place)?;
        let written = generate_to(shell, &mut visible(&Args::command()), "tcptrace", &place)?;
        fs::rename(written, place.join(name))?;
    }
    Ok(())
}

/// A command's man page and the name of its file.
fn page(command: &Command) -> io::Result<(String, String)> {
    let page = Man::new(command.clone()).source(concat!("tcptrace ", env!("CARGO_PKG_VERSION"))).manual("tcptrace");
    let mut text = Vec::new();
    page.render(&mut text)?;
    let text = String::from_utf8_lossy(&text);
    Ok((page.get_filename(), as_written(&text)))
}

/// Keeps the lines of the examples and exit codes: their columns were made for a terminal.
fn as_written(page: &str) -> String {
    let Some((before, examples)) = page.split_once(".SH EXTRA\n") else { return page.to_owned() };
    let (examples, after) = match examples.find("\n.SH ") {
        Some(end) => examples.split_at(end + 1),
        None => (examples, ""),
    };
    format!("{before}.SH EXAMPLES\n.nf\n{examples}.fi\n{after}")
}

/// The command without what `--help` hides: the writers of completions would offer that too.
fn visible(command: &Command) -> Command {
    let about = command.get_about().cloned().unwrap_or_default();
    Command::new(command.get_name().to_owned())
        .about(about)
        .args(command.get_arguments().filter(|it| !it.is_hide_set()))
        .subcommands(command.get_subcommands().filter(|it| !it.is_hide_set()).map(visible))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_keep_their_lines() {
        let page = ".SH NAME\na\n.SH EXTRA\nExamples:\n  a  b\n.SH VERSION\nv1\n";
        let expected = ".SH NAME\na\n.SH EXAMPLES\n.nf\nExamples:\n  a  b\n.fi\n.SH VERSION\nv1\n";
        assert_eq!(as_written(page), expected);
        assert_eq!(as_written(".SH NAME\na\n"), ".SH NAME\na\n");
    }

    /// Every visible flag is in the page and in each completion, and no hidden one in any of them.
    #[test]
    fn files_have_what_help_has() {
        let folder = std::env::temp_dir().join(format!("tcptrace-generate-{}", std::process::id()));
        run(&folder).unwrap();
        run(&folder).expect("files are written over");
        let places = SHELLS.map(|(_, place, name)| folder.join(place).join(name));
        let page = folder.join("man/man1/tcptrace.1");
        for file in places.iter().chain([&page]) {
            let text = fs::read_to_string(file).unwrap().replace('\\', "");
            let command = Args::command();
            for argument in command.get_arguments() {
                let Some(flag) = argument.get_long() else { continue };
                // fish has them without the dashes.
                let has = text.contains(&format!("--{flag}")) || text.contains(&format!("-l {flag} "));
                assert_eq!(has, !argument.is_hide_set(), "--{flag} in {}", file.display());
            }
            for subcommand in command.get_subcommands() {
                let has = text.contains(subcommand.get_name());
                assert_eq!(has, !subcommand.is_hide_set(), "{} in {}", subcommand.get_name(), file.display());
            }
        }
        let count = fs::read_dir(folder.join("man/man1")).unwrap().count();
        assert_eq!(count, 1 + Args::command().get_subcommands().filter(|it| !it.is_hide_set()).count());
        fs::remove_dir_all(folder).unwrap();
    }
}
