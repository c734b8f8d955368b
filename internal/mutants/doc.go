// Package mutants takes the checks of a package out, one at a time, and says which
// test notices.
//
// A check is a condition under which a function reports something: says that a rule is
// broken, that it is undecidable, that a record or an offer is refused. Each condition
// is a mutant in which it never holds; where it is a disjunction, each part of it is
// one. In files that decide, every condition is one, and each part of a conjunction, which
// holds anyway then. All mutants are compiled into one test binary, which an environment variable
// tells the one that is on, so that a hundred of them take minutes and not hours.
//
// testdata has a line for each: the file, the function, the condition, and the test that
// fails without it. The ordinary tests hold these lines to the code; with
// LEDGERD_TEST_MUTANTS=all each mutant is run against its test.
package mutants
