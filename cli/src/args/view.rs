//! Defines the flags for how results are shown on a terminal.

use clap::Args as ClapArgs;

use super::global::EVERYWHERE;

/// Holds the flags for what is shown of a table, and for how.
#[derive(Debug, Clone, Copy, Default, ClapArgs)]
pub struct View {
    /// Show tables whole: ids, names and every column, however wide the terminal is
    #[arg(long, global = true, help_heading = EVERYWHERE)]
    pub full: bool,
    /// Print long results at once, without a pager (REG_PAGER, PAGER, or less)
    #[arg(long, global = true, help_heading = EVERYWHERE)]
    pub no_pager: bool,
}
