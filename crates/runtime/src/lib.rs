//! Start, watch, enter and stop processes in containers: native runtime and shim.
