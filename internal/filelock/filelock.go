// Package filelock has one process at a time do something, by a lock on a file that
// ends with the process.
package filelock

import "os"

// Lock waits for the lock on a file, which is made where it is absent, and returns what
// ends it.
func Lock(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := lock(f); err != nil {
		_ = f.Close()
		return nil, &os.PathError{Op: "lock", Path: path, Err: err}
	}
	return func() { _ = f.Close() }, nil
}

// Held reports whether a process has the lock on a file now. Those who ask do not
// disturb each other, nor keep anybody from the lock for longer than the question takes.
func Held(path string) (bool, error) {
	f, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	held, err := held(f)
	if err != nil {
		return false, &os.PathError{Op: "lock", Path: path, Err: err}
	}
	return held, nil
}
