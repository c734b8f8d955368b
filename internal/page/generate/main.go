// Generate writes the page to built/index.html, from where the build tag page has
// it embedded. It is run by: go generate ./internal/page
package main

import (
	"context"
	"fmt"
	"os"

	"ledgerd/internal/page"
	"ledgerd/internal/wholefile"
)

func main() {
	if err := generate(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func generate() error {
	p, err := page.Make(context.Background())
	if err != nil {
		return err
	}
	if err := os.MkdirAll("built", 0o755); err != nil {
		return err
	}
	return wholefile.Write("built/index.html", p.HTML, true)
}
