//! The binary of the commit before protocols `/2`: stores and keys that it made go on with the present one, and a network
//! of both says what is to be done.

mod old_home;

mod going_on;

mod and_back;
mod side_by_side;
