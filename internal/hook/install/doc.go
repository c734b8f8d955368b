// Package install puts ledgerd's hook into the settings of coding agents, and takes it
// out again.
//
// The files are people's own. So they are changed where the hook goes, and nowhere else:
// everything beside it stays byte for byte. What is no JSON, or has something else where
// hooks should be, is left alone.
package install
