package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	acmev1 "github.com/cert-manager/cert-manager/pkg/apis/acme/v1"
	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	servertls "github.com/cert-manager/cert-manager/pkg/server/tls"
	"github.com/cert-manager/cert-manager/pkg/server/tls/authority"
	"github.com/cert-manager/cert-manager/pkg/webhook/admission"
	"github.com/cert-manager/cert-manager/pkg/webhook/server"
)

type webhookFlags struct {
	commonFlags
	securePort        int
	healthzPort       int
	caSecretNamespace string
	caSecretName      string
	dnsNames          []string
}

func webhookCommand() *cobra.Command {
	var flags webhookFlags
	cmd := &cobra.Command{
		Use:   "webhook",
		Short: "admission webhook with its own certificate authority",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return flags.run(cmd.Context()) },
	}
	flags.register(cmd)
	set := cmd.Flags()
	set.IntVar(&flags.securePort, "secure-port", 6443, "port of the webhook")
	set.IntVar(&flags.healthzPort, "healthz-port", 6080, "port of the health endpoint")
	set.StringVar(&flags.caSecretNamespace, "dynamic-serving-ca-secret-namespace", "", "namespace of the Secret that holds the authority")
	set.StringVar(&flags.caSecretName, "dynamic-serving-ca-secret-name", "", "name of the Secret that holds the authority")
	set.StringSliceVar(&flags.dnsNames, "dynamic-serving-dns-names", nil, "DNS names of the serving certificate")
	return cmd
}

func (f *webhookFlags) run(ctx context.Context) error {
	if f.caSecretNamespace == "" || f.caSecretName == "" || len(f.dnsNames) == 0 {
		return errors.New("the flags dynamic-serving-ca-secret-namespace, dynamic-serving-ca-secret-name and dynamic-serving-dns-names are required")
	}
	config, err := f.restConfig("webhook")
	if err != nil {
		return err
	}
	scheme, err := webhookScheme()
	if err != nil {
		return err
	}
	webhook := &server.Server{
		ListenAddr:     f.securePort,
		HealthzAddr:    &f.healthzPort,
		ResourceScheme: scheme,
		CertificateSource: &servertls.DynamicSource{
			DNSNames: f.dnsNames,
			Authority: &authority.DynamicAuthority{
				SecretNamespace: f.caSecretNamespace,
				SecretName:      f.caSecretName,
				RESTConfig:      config,
			},
		},
		ValidationWebhook:    admission.PluginChain{issuerRules{}},
		MutationWebhook:      admission.PluginChain{},
		MetricsListenAddress: f.metricsListenAddress,
	}
	return webhook.Run(ctx)
}

// webhookScheme knows the kinds the webhook is asked about. The handler converts each object
// to its internal version; the internal types are out of reach, so the v1 types stand in for
// them and nothing is converted.
func webhookScheme() (*runtime.Scheme, error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{cmapi.AddToScheme, acmev1.AddToScheme} {
		if err := add(scheme); err != nil {
			return nil, err
		}
	}
	internal := func(group string) schema.GroupVersion {
		return schema.GroupVersion{Group: group, Version: runtime.APIVersionInternal}
	}
	scheme.AddKnownTypes(internal(cmapi.SchemeGroupVersion.Group),
		&cmapi.Certificate{}, &cmapi.CertificateRequest{}, &cmapi.ClusterIssuer{}, &cmapi.Issuer{})
	scheme.AddKnownTypes(internal(acmev1.SchemeGroupVersion.Group), &acmev1.Challenge{}, &acmev1.Order{})
	return scheme, nil
}

// issuerRules holds the one cert-manager rule that users of the installer meet: an issuer
// has exactly one type. The full rule set lives in cert-manager's internal packages, which
// no other module can import.
type issuerRules struct{}

var _ admission.ValidationInterface = issuerRules{}

func (issuerRules) Handles(operation admissionv1.Operation) bool {
	return operation == admissionv1.Create || operation == admissionv1.Update
}

func (issuerRules) Validate(_ context.Context, _ admissionv1.AdmissionRequest, _, obj runtime.Object) ([]string, error) {
	issuer, ok := obj.(cmapi.GenericIssuer)
	if !ok {
		return nil, nil
	}
	config := issuer.GetSpec().IssuerConfig
	types := 0
	for _, set := range []bool{config.ACME != nil, config.CA != nil, config.SelfSigned != nil, config.Vault != nil, config.Venafi != nil} {
		if set {
			types++
		}
	}
	if types != 1 {
		return nil, fmt.Errorf("spec: an issuer needs exactly one of acme, ca, selfSigned, vault, venafi; found %d", types)
	}
	return nil, nil
}
