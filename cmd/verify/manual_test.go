package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"ledgerd/internal/manual"
	"ledgerd/internal/manual/manualtest"
)

func pages() *manual.Page { return manual.New(newApp(stdio{})) }

// Every command has examples, and its help fits a terminal.
func TestHelp(t *testing.T) { manualtest.Pages(t, pages()) }

// The examples that --help shows run as they stand, each in a directory of its own
// with the files that they name. One thing is replaced: the log at
// https://ledger.example/support is served here.
func TestExamples(t *testing.T) {
	manualtest.Long(t)
	files := newFixtures(t)
	for name, of := range map[string]string{
		"yesterday.head": "old.head", "today.head": "new.head", "mine.head": "new.head", "theirs.head": "fork.head", "longer.head": "longfork.head",
		"partner.json": "other.json", "record.tlog-proof": "done.tlog-proof",
	} {
		files[name] = files[of]
	}
	for name, b := range files {
		for dir, of := range map[string]string{"tiles/": "log-later/", "forked-tiles/": "log-longfork/"} {
			if rest, ok := strings.CutPrefix(name, of); ok {
				files[dir+rest] = b
			}
		}
	}
	files["trust.json"] = files["pinned.json"] // a receipt is verified under the runtime's key
	log := t.TempDir()
	if err := files.write(log); err != nil {
		t.Fatal(err)
	}
	served := httptest.NewServer(http.FileServer(http.Dir(filepath.Join(log, "tiles"))))
	t.Cleanup(func() {
		served.CloseClientConnections() // those of whom was interrupted
		served.Close()
	})
	pages().Walk(func(p *manual.Page) {
		t.Run(strings.ReplaceAll(p.Name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			if p.Name == "verify page" {
				t.Skip("TestPage runs it, with a cache to compile by")
			}
			var ready *regexp.Regexp // the others end by themselves
			if p.Name == "verify watch" {
				ready = regexp.MustCompile(`(?m)^VERIFIED`)
			}
			for _, e := range p.Examples {
				dir := t.TempDir()
				if err := files.write(dir); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(dir, "page-me"), []byte("#!/bin/sh\n"), 0o700); err != nil {
					t.Fatal(err)
				}
				e.Script = strings.ReplaceAll(e.Script, "https://ledger.example/support", served.URL)
				manualtest.Run(t, e, dir, append(os.Environ(), "HOME="+dir), ready)
			}
		})
	})
}

func TestManPage(t *testing.T) {
	manualtest.Man(t, pages(), "NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "COMMANDS", "EXAMPLES", "EXIT STATUS", "ENVIRONMENT", "SEE ALSO")
}

// What a shell offers, wherever flags stand: commands, flags that are not given
// yet, the values that there are, and files where they are wanted. Nothing that is
// only typed is run.
func TestCompletion(t *testing.T) {
	manualtest.Complete(t, "verify", []manualtest.Completion{
		{Line: "verify l", Want: []string{"log"}},
		{Line: "verify w", Want: []string{"watch"}},
		{Line: "verify --trust trust.json l", Want: []string{"log"}},
		{Line: "verify --trust=trust.json -q l", Want: []string{"log"}},
		{Line: "verify trust ", Want: []string{"show"}},
		{Line: "verify tru", Want: []string{"trust", "trust.json"}},
		{Line: "verify trust.json l"},
		{Line: "verify log --sta", Want: []string{"--state"}},
		{Line: "verify log bundles --sta", Want: []string{"--state"}},
		{Line: "verify --trust trust.json log --sta", Want: []string{"--state"}},
		{Line: "verify consistency --lo", Want: []string{"--log"}},
		{Line: "verify --output ", Want: []string{"text", "json", "sarif", "junit"}},
		{Line: "verify --output=j", Want: []string{"json", "junit"}},
		{Line: "verify log --output j", Want: []string{"json", "junit"}},
		{Line: "verify report --output j", Want: []string{"json"}},
		{Line: "verify trust show --output ", Want: []string{"text", "json"}},
		{Line: "verify --trust t", Want: []string{"trust.json"}},
		{Line: "verify --trust=t", Want: []string{"trust.json"}},
		{Line: "verify --trust ", Want: []string{"trust.json", "my file.json", "bundles"}},
		{Line: "verify --run t"},
		{Line: "verify log ", Want: []string{"bundles"}},
		{Line: "verify log http://127.0.0.1:8420 --sta", Want: []string{"--state"}},
		{Line: "verify completion ", Want: []string{"bash", "zsh", "fish"}},
		{Line: "verify -q --qui"},
		{Line: "verify --trust trust.json --tru", Want: []string{"--trust"}},
		{Line: "verify -- --tru"},
		{Line: "verify -- lo"},
		{Line: "verify $(touch pwned) --contr", Want: []string{"--contract"}},
	})
}
