//! Fixtures, image maker, simulated disk, private namespaces and conformance suites for the tests of the other crates.
