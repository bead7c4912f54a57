//! The suite `kernel`: the real object under the real verifier, by BPF_PROG_TEST_RUN, against the model. Needs root.

mod asked;
mod captures;
mod ceiling;
mod connects;
mod drops;
mod floods;
mod hostile;
mod limits;
mod machine;
mod policy;
mod race;
mod recorded;
mod rig;
mod scenarios;
