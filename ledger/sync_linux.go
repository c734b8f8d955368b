package ledger

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// wholeSync: many files are made durable by one sync of their file system.
// Since Linux 5.8 syncfs reports write errors as fsync does.
const wholeSync = true

// syncFileSystem makes everything durable that was written to the file system
// of dir before.
func syncFileSystem(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync payloads: %w", err)
	}
	if err := errors.Join(unix.Syncfs(int(d.Fd())), d.Close()); err != nil {
		return fmt.Errorf("sync payloads: %w", err)
	}
	return nil
}
