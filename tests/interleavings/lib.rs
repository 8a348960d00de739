//! Nothing but its test: how threads may run through the group commit of `engine/src/store/commit`.
