package agent

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/smtp"
	"os"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"ledgerd/evidence"
	"ledgerd/runtime"
	"ledgerd/runtime/tools"
)

// toolsFile is the operator's file of tools: docs/runtime.md describes it.
type toolsFile struct {
	Tools []toolEntry `json:"tools"`
}

// toolEntry is one tool: what any has, and one of http, command and smtp.
type toolEntry struct {
	Name        string           `json:"name"`
	Action      string           `json:"action"` // the name where it is ""
	Description string           `json:"description"`
	Schema      jsontext.Value   `json:"schema"`
	Resource    string           `json:"resource"`
	Timeout     string           `json:"timeout"` // such as 30s
	Estimate    evidence.Amounts `json:"estimate"`
	Idempotent  bool             `json:"idempotent"`
	Params      []string         `json:"params"`
	Refs        []string         `json:"refs"`

	HTTP    *httpEntry    `json:"http"`
	Command *commandEntry `json:"command"`
	SMTP    *smtpEntry    `json:"smtp"`
}

type httpEntry struct {
	Methods     []string          `json:"methods"`
	URL         string            `json:"url"`
	Hosts       []hostEntry       `json:"hosts"`
	Body        string            `json:"body"`
	Headers     map[string]string `json:"headers"`
	Secrets     map[string]secret `json:"secrets"` // headers
	Keep        []string          `json:"keep"`
	MaxResponse int64             `json:"max_response"`
	Accepted    bool              `json:"accepted"`
	Probe       string            `json:"probe"`
}

type hostEntry struct {
	Name      string         `json:"name"`
	Addresses []netip.Prefix `json:"addresses"`
	Plain     bool           `json:"plain"`
}

type commandEntry struct {
	Path      string            `json:"path"`
	Args      []string          `json:"args"`
	Dir       string            `json:"dir"`
	Env       map[string]string `json:"env"`
	Secrets   map[string]secret `json:"secrets"` // environment variables
	Stdin     string            `json:"stdin"`
	MaxOutput int               `json:"max_output"`
}

type smtpEntry struct {
	Address    string   `json:"address"`
	From       string   `json:"from"`
	Recipients []string `json:"recipients"`
	User       string   `json:"user"`
	Password   *secret  `json:"password"`
	Plain      bool     `json:"plain"`
}

// secret says where a secret is, and never what it is.
type secret struct {
	Env    string `json:"env"`    // an environment variable of the daemon's
	File   string `json:"file"`   // or else a file that holds it, without the line's end
	Prefix string `json:"prefix"` // what goes before it: "Bearer "
}

func (s secret) read() (string, error) {
	var text string
	switch {
	case (s.Env == "") == (s.File == ""):
		return "", errors.New("want env, the name of an environment variable, or file, a path: a secret is not written here itself")
	case s.Env != "":
		text = os.Getenv(s.Env)
		if text == "" {
			return "", fmt.Errorf("want a secret in the environment variable %s, found none", s.Env)
		}
	default:
		b, err := os.ReadFile(s.File)
		if err != nil {
			return "", err
		}
		if text = strings.TrimRight(string(b), "\r\n"); text == "" {
			return "", fmt.Errorf("want a secret in %s, found none", s.File)
		}
	}
	return s.Prefix + text, nil
}

func secrets(of map[string]secret) (map[string]string, error) {
	read := make(map[string]string, len(of))
	for name, s := range of {
		text, err := s.read()
		if err != nil {
			return nil, fmt.Errorf("secret %s: %w", name, err)
		}
		read[name] = text
	}
	return read, nil
}

// LoadTools reads the operator's file of tools.
func LoadTools(path string) ([]runtime.Tool, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var file toolsFile
	// What is wrong is told by its place, and not with what stands there: somebody
	// may have written a secret.
	if err := json.Unmarshal(b, &file, json.RejectUnknownMembers(true)); err != nil {
		if semantic, ok := errors.AsType[*json.SemanticError](err); ok {
			return nil, fmt.Errorf("%s: %s: want what docs/runtime.md says, found another member or type", path, cmp.Or(string(semantic.JSONPointer), "/"))
		}
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	var all []runtime.Tool
	for i := range file.Tools {
		t, err := file.Tools[i].tool()
		if err != nil {
			return nil, fmt.Errorf("%s: tool %d, %q: %w", path, i, file.Tools[i].Name, err)
		}
		all = append(all, t)
	}
	return all, nil
}

func (e *toolEntry) tool() (runtime.Tool, error) {
	spec := runtime.Spec{
		Name: e.Name, Action: cmp.Or(e.Action, e.Name), Description: e.Description, Schema: []byte(e.Schema), Resource: e.Resource,
		Estimate: e.Estimate, Idempotent: e.Idempotent, Params: e.Params, Refs: e.Refs,
	}
	if len(e.Schema) == 0 {
		spec.Schema = nil
	}
	if e.Timeout != "" {
		d, err := time.ParseDuration(e.Timeout)
		if err != nil || d <= 0 {
			return nil, fmt.Errorf("timeout: want how long, such as 30s, found %q", e.Timeout)
		}
		spec.Timeout = d
	}
	kinds := 0
	for _, is := range []bool{e.HTTP != nil, e.Command != nil, e.SMTP != nil} {
		if is {
			kinds++
		}
	}
	if kinds != 1 {
		return nil, fmt.Errorf("want one of http, command and smtp, found %d of them", kinds)
	}
	switch {
	case e.HTTP != nil:
		return e.HTTP.tool(spec)
	case e.Command != nil:
		return e.Command.tool(spec)
	}
	return e.SMTP.tool(spec)
}

func (e *httpEntry) tool(spec runtime.Spec) (runtime.Tool, error) {
	cfg := tools.HTTPConfig{
		Spec: spec, Methods: e.Methods, URL: e.URL, Body: e.Body, Headers: e.Headers, Keep: e.Keep,
		MaxResponse: e.MaxResponse, Accepted: e.Accepted, Probe: e.Probe,
	}
	for _, h := range e.Hosts {
		cfg.Hosts = append(cfg.Hosts, tools.Host{Name: h.Name, Addresses: h.Addresses, Plain: h.Plain})
	}
	var err error
	if cfg.Secrets, err = secrets(e.Secrets); err != nil {
		return nil, err
	}
	return tools.NewHTTP(cfg)
}

func (e *smtpEntry) tool(spec runtime.Spec) (runtime.Tool, error) {
	cfg := tools.SMTPConfig{Spec: spec, Address: e.Address, From: e.From, Recipients: e.Recipients, Plain: e.Plain}
	if (e.User == "") != (e.Password == nil) {
		return nil, errors.New("want user and password together or neither")
	}
	if e.Password != nil {
		text, err := e.Password.read()
		if err != nil {
			return nil, fmt.Errorf("password: %w", err)
		}
		host, _, err := net.SplitHostPort(e.Address)
		if err != nil {
			return nil, fmt.Errorf("address: %w", err)
		}
		cfg.Auth = smtp.PlainAuth("", e.User, text, host)
	}
	return tools.NewSMTP(cfg)
}
