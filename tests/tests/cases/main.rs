//! The suite `cases`: what people reported, as small captures and scripts in `tests/cases`, and beside each an innocent
//! twin.

mod wire;
