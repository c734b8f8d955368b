package page

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	goruntime "runtime"
	"strings"
)

// A Page is one that was made.
type Page struct {
	HTML []byte
	From string // what it was made from, in words
}

// ErrNoSource is that the program has no page in it, and was not built from source
// that is still there.
var ErrNoSource = errors.New("expected a page in this program, or its source beside it, found neither")

// Embedded returns the page that the program holds; nil: it was built without.
func Embedded() *Page {
	if len(embedded) == 0 {
		return nil
	}
	return &Page{embedded, "the page in this program"}
}

// Make compiles the page with the go command, from the source that the running
// program was built from: from no other, whatever directory it is run in.
func Make(ctx context.Context) (*Page, error) {
	root, err := source()
	if err != nil {
		return nil, err
	}
	program, err := compile(ctx, root)
	if err != nil {
		return nil, err
	}
	// The script that starts a program has to be that of the compiler.
	where, err := goCommand(ctx, root, "env", "GOROOT", "GOVERSION")
	if err != nil {
		return nil, err
	}
	goroot, version, _ := strings.Cut(strings.TrimSpace(string(where)), "\n")
	start, err := os.ReadFile(filepath.Join(goroot, "lib", "wasm", "wasm_exec.js"))
	if err != nil {
		return nil, err
	}
	html, err := assemble(program, start)
	if err != nil {
		return nil, err
	}
	return &Page{html, "the source in " + root + ", by " + version}, nil
}

// source returns the root of the module that this program was built from.
func source() (string, error) {
	_, file, _, ok := goruntime.Caller(0)
	root := filepath.Dir(filepath.Dir(filepath.Dir(file)))
	if !ok || !filepath.IsAbs(file) { // -trimpath
		return "", ErrNoSource
	}
	mod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil || !bytes.HasPrefix(mod, []byte("module ledgerd\n")) {
		return "", ErrNoSource
	}
	return root, nil
}

// compile returns the verifier as WebAssembly. Paths and version control leave no
// trace in it.
func compile(ctx context.Context, root string) ([]byte, error) {
	dir, err := os.MkdirTemp("", "verify-page-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	out := filepath.Join(dir, "verify.wasm")
	if _, err := goCommand(ctx, root, "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", out, "./internal/page/wasm"); err != nil {
		return nil, err
	}
	return os.ReadFile(out)
}

// goCommand runs the go command in the module, with no setting of the user's that
// would make another program of the same source.
func goCommand(ctx context.Context, root string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "GOOS=js", "GOARCH=wasm", "CGO_ENABLED=0", "GOFLAGS=", "GOWASM=", "GOEXPERIMENT=", "GOFIPS140=off", "GOWORK=off")
	var diagnostics bytes.Buffer
	cmd.Stderr = &diagnostics
	b, err := cmd.Output()
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return nil, fmt.Errorf("expected the go command on the PATH, which compiles the page: %w", err)
	case err != nil:
		return nil, fmt.Errorf("go %s: %w\n%s", args[0], err, diagnostics.Bytes())
	}
	return b, nil
}

// pack compresses the program. The form has no time and no name in it.
func pack(program []byte) ([]byte, error) {
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := z.Write(program); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
