// Command audit is what somebody does who trusts neither side: it reads a bundle, and
// every rule over both ledgers, with nothing but their trust files.
package main

import (
	"flag"
	"fmt"
	"os"

	"ledgerd/audit"
	"ledgerd/bundle"
	"ledgerd/examples/a2a/party"
)

func main() {
	var trust []string
	flag.Func("trust", "trust `FILE` of a ledger; may be repeated", func(s string) error { trust = append(trust, s); return nil })
	flag.Parse()
	report, err := read(flag.Arg(0), trust)
	if err != nil {
		fmt.Fprintf(os.Stderr, "audit: %q\n", err.Error())
		os.Exit(audit.ExitUndecidable)
	}
	for _, r := range report.Rules {
		fmt.Printf("%-12s %s\n", r.Rule, r.Status)
		for i := range r.Findings {
			fmt.Printf("  %q\n", r.Findings[i].String())
		}
	}
	for _, g := range report.Given {
		fmt.Printf("handed over by %q, whose part is %s\n", g.Report.Scope.Origin, g.Report.Status())
	}
	os.Exit(report.ExitCode())
}

func read(file string, trust []string) (*audit.Report, error) {
	t, err := party.Trust(new(bundle.Trust), trust)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return audit.VerifyBundle(f, t, audit.Options{})
}
