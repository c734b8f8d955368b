package page

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"regexp"
	"strings"
	"testing"
)

// The policy names the script and the style sheet that are there, as they are there.
func TestPolicyNamesWhatIsThere(t *testing.T) {
	html, err := assemble([]byte("\x00asm"), []byte("start()\n"))
	if err != nil {
		t.Fatal(err)
	}
	policy := regexp.MustCompile(`Content-Security-Policy" content="([^"]*)"`).FindSubmatch(html)
	if policy == nil {
		t.Fatal("no policy")
	}
	found := 0
	for _, m := range regexp.MustCompile(`(?s)<(?:script|style)>(.*?)</(?:script|style)>`).FindAllSubmatch(html, -1) {
		sum := sha256.Sum256(m[1])
		if found++; !bytes.Contains(policy[1], []byte("'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'")) {
			t.Errorf("the policy does not name %.60q", m[1])
		}
	}
	if found != 2 {
		t.Errorf("expected one script and one style sheet, found %d", found)
	}
	for _, never := range []string{"unsafe-inline", "'unsafe-eval'", "http:", "https:", "*", "data:"} {
		if bytes.Contains(policy[1], []byte(never)) {
			t.Errorf("the policy has %s: %s", never, policy[1])
		}
	}
	if outside := regexp.MustCompile(`(?:src|href)="[^#]`).Find(html); outside != nil {
		t.Errorf("the page names something outside: %s", outside)
	}
}

// Of a script that would end its element nothing is made.
func TestScriptsStayInTheirElement(t *testing.T) {
	for _, start := range []string{"'</script>'", "'</SCRIPT '", "'<!--'", "'<script'"} {
		if _, err := assemble([]byte("\x00asm"), []byte(start)); err == nil {
			t.Errorf("a page was made with %s in it", start)
		}
	}
	if i := strings.Index(pageScript, "innerHTML"); i >= 0 {
		t.Error("the script makes elements from text")
	}
}
